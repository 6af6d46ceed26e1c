"""Files of profiles: which there are, and who makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sonde.cli.formats import ROWS, TABLE, Formats

if TYPE_CHECKING:
    from sonde.records.profile import Profile

FILES: Mapping[str, tuple[str, str]] = {
    "html": (".html", "sonde.views.flame.html"),
    "svg": (".svg", "sonde.views.flame.svg"),
    "folded": (".folded", "sonde.exporters.profiles.folded"),
    "pprof": (".pb.gz", "sonde.exporters.profiles.pprof"),
    "speedscope": (".speedscope.json", "sonde.exporters.profiles.speedscope"),
}
"""Each format's suffix, and the module whose function of that name makes a file's bytes."""

FORMATS = Formats(
    (*ROWS.names, *FILES),
    {
        **{suffix: name for name, (suffix, _) in FILES.items()},
        ".json": "json",
        ".jsonl": "json",
        ".csv": "csv",
        ".txt": TABLE,
    },
    binary=frozenset({"pprof"}),
    # A file holds everything, in an order of its own.
    without=dict.fromkeys(FILES, ("sort", "limit")),
)


def maker_of(name: str) -> Callable[[Profile], bytes]:
    """Give what makes a file of a profile."""
    import importlib

    found: Callable[[Profile], bytes] = getattr(importlib.import_module(FILES[name][1]), name)
    return found
