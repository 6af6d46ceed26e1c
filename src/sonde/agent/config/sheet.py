"""The sheet: all keys by their sections, for whoever writes them down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sonde.agent.config.catalogue import all_keys
from sonde.agent.config.key import Key, Path
from sonde.agent.config.kind import Pairs

TEXTS = {
    (): "",
    ("resource",): "Attributes of all that is exported, beside what sonde finds itself.",
    ("series",): "What makes a series of a metric, and how many there may be.",
    ("otlp",): "OpenTelemetry: where metrics and records are sent to.",
    ("otlp", "metrics"): "What is different for metrics.",
    ("otlp", "logs"): "What is different for logs, which streams' records become.",
    ("prometheus",): "The endpoint that a Prometheus server scrapes.",
    ("file",): "Lines of JSON, in a file or on standard output.",
    ("budget",): "What sonde may cost.",
    ("process",): "Who the agent is.",
    ("log",): "What sonde says of itself, on standard error.",
}
"""What each section is, in their order; those of the probes come behind [series]."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table of TOML with its keys; that of [resource] has any."""

    path: Path
    text: str
    keys: dict[Path, Key]


def sections() -> Iterator[Section]:
    """Give all sections in the order in which a person reads them."""
    from sonde.probes import all_probes

    keys = all_keys()
    found: dict[Path, Section] = {path: Section(path, text, {}) for path, text in TEXTS.items()}
    for name, probe in all_probes().items():
        found["probes", name] = Section(("probes", name), f"Probe {name}: {probe.summary}.", {})
    for path, key in keys.items():
        parent = path if is_free(path, key) else path[:-1]
        found[parent].keys[path] = key
    probes = [path for path in found if path[:1] == ("probes",)]
    for path in TEXTS:
        yield found[path]
        if path == ("series",):
            yield from (found[each] for each in probes)


def is_free(path: Path, key: Key) -> bool:
    """Tell whether a key is a section whose names are the user's."""
    return len(path) == 1 and isinstance(key.kind, Pairs)


def written(key: Key) -> str:
    """Write a key's default as TOML; empty where it has none, or one that is as if it were unset."""
    return "" if key.default is None or key.default in ("", {}, ()) else key.kind.write(key.default)
