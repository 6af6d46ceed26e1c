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
    parent, name = path[:-1], path[-1]
    beside = dict.fromkeys(each[len(parent)] for each in keys if each[: len(parent)] == parent)
    # A list that grows with everything that can be configured would be no sentence: the nearest, or all where few are.
    noun = "probe" if parent == ("probes",) else "key"
    near = nearest(name.lower(), beside)
    # A key may be known elsewhere: ``listen`` at the top belongs to [prometheus].
    elsewhere = [dotted(each) for each in keys if each[-1] == name and each[:-1] != parent]
    if near:
        return (
            f"there is no such {noun}: did you mean {' or '.join(dotted((*parent, each)) for each in near)}?"
        )
    if elsewhere and len(elsewhere) <= 4:
        return f"there is no such {noun} here: there is {' and '.join(elsewhere)}"
    return f"there is no such {noun}: valid: {', '.join(beside)}"
