"""The catalogue of all keys: those that every configuration has, and those of each probe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sonde.agent.config.config import Config
from sonde.agent.config.key import Key, Path, dotted, keys_of
from sonde.agent.config.probe import probe_keys
from sonde.nearest import nearest
from sonde.probes import all_probes


def all_keys() -> dict[Path, Key]:
    """Find every key by its path, in the order of the sections; imports the probes' declarations."""
    found = keys_of(Config)
    for probe in all_probes().values():
        found |= probe_keys(probe)
    return found


def is_section(path: Path, keys: Iterable[Path]) -> bool:
    """Tell whether there are keys below a path."""
    return any(each[: len(path)] == path and len(each) > len(path) for each in keys)


def why_unknown(path: Path, keys: Mapping[Path, Any]) -> str:
    """Say that there is no such key, and what may have been meant."""
    known = _known(path, keys)
    if known in keys:
        return f"{dotted(known)} is a key itself, with none below it: give {keys[known].kind.valid}"
    beside = dict.fromkeys(each[len(known)] for each in keys if each[: len(known)] == known)
    if known == path:
        return f"it is a section: give one of its keys: {', '.join(beside)}"
    name = path[len(known)]
    # A list that grows with everything that can be configured would be no sentence: the nearest, or all where few are.
    is_key = len(known) == len(path) - 1
    if not is_key:
        beside = {each: None for each in beside if is_section((*known, each), keys)}
    noun = "probe" if known == ("probes",) else "key" if is_key else "section"
    near = nearest(name.lower(), beside)
    # A key may be known elsewhere: ``listen`` at the top belongs to [prometheus].
    elsewhere = [dotted(each) for each in keys if each[-1] == path[-1] and each[:-1] != path[:-1]]
    if near:
        return (
            f"there is no such {noun}: did you mean {' or '.join(dotted((*known, each)) for each in near)}?"
        )
    if elsewhere and len(elsewhere) <= 4:
        return f"there is no such {noun} here: there is {' and '.join(elsewhere)}"
    return f"there is no such {noun}: valid: {', '.join(beside)}"


def _known(path: Path, keys: Mapping[Path, Any]) -> Path:
    """Give how far a path leads: to a key, to a section, or as far as there are sections by these names."""
    for end in range(1, len(path) + 1):
        if path[:end] in keys:
            return path[:end]
        if not is_section(path[:end], keys):
            return path[: end - 1]
    return path
