"""How a column is shown to a person: its title, its side, its words, its style; from its name and its meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sonde.enrich.times import WALL
from sonde.views import arguments, cell
from sonde.views.page import MOMENTS

IDENTIFIERS = frozenset({"pid", "tid", "ppid", "uid", "gid", "cpu", "port", "id", "ifindex", "syscall"})
"""Columns of numbers that are names of things, not how many there are of them."""
_UNITS = ("_ns", "_bytes", "_share")
_CLOCK_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Shown:
    """A column as it is drawn; ``is_estimate`` says that sampling makes it one."""

    name: str
    title: str
    words: Callable[[Any], str]
    is_right: bool = True
    style: str = ""
    is_estimate: bool = False

    def cell(self, value: Any, *, estimated: bool = False) -> str:
        """Write one value; what is unknown is a dash."""
        if value is None:
            return cell.UNKNOWN
        mark = "~" if estimated and self.is_estimate else ""
        return mark + self.words(value)


def shown(
    names: Sequence[str], *, meanings: Mapping[str, str], sample: Mapping[str, Any] | None
) -> list[Shown]:
    """Say how columns are drawn; a ``sample`` row tells text from numbers where the name does not."""
    titles = _titles(names)
    return [_shown(name, titles[name], meanings.get(name, ""), (sample or {}).get(name)) for name in names]


def _shown(name: str, title: str, meaning: str, sample: Any) -> Shown:
    if name in MOMENTS:
        return Shown(name, "TIME", lambda value: cell.clock(value, digits=_CLOCK_DIGITS), style="dim")
    if meaning == WALL:
        return Shown(name, title, cell.clock, style="dim")
    if (name in IDENTIFIERS and not isinstance(sample, str)) or name.endswith(("_id", "_port")):
        return Shown(name, title, str, style="cyan")
    if name == "error":
        return Shown(name, title, cell.text, is_right=False, style="red")
    if meaning == "sonde_result_t":
        return Shown(name, title, cell.number)
    if name.endswith("_ns"):
        return Shown(name, title, cell.duration, is_estimate=name.endswith("_sum_ns"))
    if name.endswith("_share"):
        return Shown(name, title, cell.percent)
    if name.endswith("_bytes"):
        return Shown(name, title, cell.size, is_estimate=True)
    if isinstance(sample, list):
        return Shown(name, title, arguments.words, is_right=False)
    if isinstance(sample, str) or (
        sample is None and meaning in ("sonde_comm_t", "sonde_syscall_t", "sonde_text_t")
    ):
        return Shown(name, title, cell.text, is_right=False, style="bold" if name == "comm" else "")
    if isinstance(sample, bool):
        return Shown(name, title, lambda value: "yes" if value else "no", is_right=False)
    return Shown(name, title, cell.count, is_estimate=True)


def _titles(names: Sequence[str]) -> dict[str, str]:
    """Name columns in few letters: without units, and without the word that all measures of a table share."""
    bare = {name: _without_unit(name) for name in names}
    firsts = {
        name: bare[name].partition("_")[0]
        for name in names
        if _without_unit(name) != name and "_" in bare[name]
    }
    shared = set(firsts.values())
    if len(firsts) > 1 and len(shared) == 1:
        for name, first in firsts.items():
            bare[name] = bare[name].removeprefix(f"{first}_")
    return {name: words.replace("_", " ").upper() for name, words in bare.items()}


def _without_unit(name: str) -> str:
    for unit in _UNITS:
        if name.endswith(unit):
            return name.removesuffix(unit)
    return name
