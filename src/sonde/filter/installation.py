"""One set of rules in the kernel: a program with maps of its own, filled before any packet comes by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sonde.bpf.btf import Enum
from sonde.bpf.object import Object, ObjectSpec
from sonde.bpf.safe import read_packaged
from sonde.filter.compiled import Compiled
from sonde.filter.dimension import DIMENSIONS
from sonde.filter.rate import Bucket
from sonde.filter.rule import RuleSet

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.bpf.map import Map

OBJECT = "filter/filter.bpf.o"
PROGRAM = "filter"
OTHERWISE, NOT_IP, UNPARSED, FIRST_RULE = 0, 1, 2, 16
"""Slots that every set has: the parser's reasons are added to UNPARSED; from FIRST_RULE on they are rules'."""
ACTIONS = {"allow": 0, "drop": 1, "rate-limit": 2}
REFILL = np.dtype([("per_ns", "u8"), ("cost", "u8"), ("full", "u8"), ("fill_ns", "u8")])
VERDICT = np.dtype([("packets", REFILL), ("bytes", REFILL), ("slot", "u4"), ("action", "u4")])


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all sets of rules; ``sources_max`` buckets of rate limits there may be."""

    is_dry_run: bool = False
    drops_unparsed: bool = False
    sources_max: int = 65_536


@dataclass(frozen=True, slots=True)
class Handed:
    """What a set takes over from the one before: the interface's kind, and maps, None where it makes its own.

    ``slots`` there are to be.
    """

    slots: int
    has_ethernet: bool = True
    seen: Map | None = None
    counters: Map | None = None
    buckets: Map | None = None


def install(
    rules: RuleSet, compiled: Compiled, slots: Sequence[int], settings: Settings, handed: Handed
) -> Object:
    """Load the program, and fill its maps; nothing is attached. The caller closes it. Raises KernelError."""
    with ObjectSpec.open(read_packaged(OBJECT), name=PROGRAM) as spec:
        for name, value in compiled.knobs.items():
            spec.knobs[name].value = value
        spec.knobs["is_dry_run"].value = settings.is_dry_run
        spec.knobs["has_ethernet"].value = handed.has_ethernet
        spec.knobs["drops_unparsed"].value = settings.drops_unparsed
        verdicts = _verdicts(rules, slots)
        for name, content in _contents(compiled, verdicts).items():
            spec.maps[name].max_entries = max(1, len(content))
        spec.maps["counters"].max_entries = handed.slots
        if any(rule.rate for rule in rules.rules):
            spec.maps["buckets"].max_entries = settings.sources_max
        for name, map in (("seen", handed.seen), ("counters", handed.counters), ("buckets", handed.buckets)):
            if map is not None:
                spec.maps[name].reuse(map.fd)
        loaded = spec.load()
    try:
        _fill(loaded, compiled, verdicts)
    except BaseException:
        loaded.close()
        raise
    return loaded


def reasons(loaded: Object) -> list[str]:
    """Name the parser's reasons not to know a packet, in their numbers' order; the first one is none."""
    assert loaded.btf is not None, "packaged objects have BTF"
    values: dict[str, int] = dict(loaded.btf.require("packet_reason", Enum).values)
    count = values["PACKET_REASONS"]
    names = {number: name.removeprefix("PACKET_").lower() for name, number in values.items()}
    return [names[number] for number in range(count)]


def _contents(compiled: Compiled, verdicts: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Give what the maps of one set hold, by name; the table's size is fixed."""
    return {
        "table": compiled.table,
        "sets": compiled.sets,
        "clauses": compiled.clauses,
        "attribution": compiled.attribution,
        "verdicts": verdicts,
        **{name: trie.keys for name, trie in compiled.tries.items()},
    }


def _fill(loaded: Object, compiled: Compiled, verdicts: npt.NDArray[Any]) -> None:
    for name, trie in compiled.tries.items():
        _write(loaded.maps[name], trie.keys, trie.nodes)
    for dimension in DIMENSIONS:
        if compiled.knobs[dimension.knob]:
            keys = np.arange(dimension.at, dimension.at + dimension.length, dtype=np.uint32)
            _write(loaded.maps["table"], keys, compiled.table[keys])
    for name, content in (
        ("sets", compiled.sets),
        ("clauses", compiled.clauses),
        ("attribution", compiled.attribution),
        ("verdicts", verdicts),
    ):
        _write(loaded.maps[name], np.arange(len(content), dtype=np.uint32), content)


def _write(map: Map, keys: npt.NDArray[Any], values: npt.NDArray[Any]) -> None:
    if len(keys):
        map.update_many(keys.view(map.key_dtype), values.view(map.value_dtype))


def _verdicts(rules: RuleSet, slots: Sequence[int]) -> npt.NDArray[Any]:
    """Say what becomes of packets by rule; the last one is for those that meet none."""
    found = np.zeros(len(rules) + 1, dtype=VERDICT)
    found["slot"][:-1] = slots
    found["action"][:-1] = [ACTIONS[rule.action] for rule in rules.rules]
    found[-1]["slot"] = OTHERWISE
    for position, rule in enumerate(rules.rules):
        if rule.rate is not None:
            found[position]["packets"] = _refill(rule.rate.packets)
            found[position]["bytes"] = _refill(rule.rate.bytes)
    return found


def _refill(bucket: Bucket | None) -> tuple[int, int, int, int]:
    """Give a bucket's figures; one without a limit costs nothing."""
    return (0, 0, 0, 0) if bucket is None else (bucket.count, bucket.period_ns, bucket.full, bucket.fill_ns)
