"""What the probe ``cpu`` measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sonde.bpf.map.map import possible_cpus
from sonde.probe import CLOCK, FOLLOWERS, FREQUENCY, Knob, Probe, Table, Variant

if TYPE_CHECKING:
    from sonde.bpf import ObjectSpec
    from sonde.records.model import Enricher

ROOM_S, ROWS_MIN, ROWS_MAX = 4, 1024, 12_672
"""A generation has room for all samples of so many seconds, each of a stack of its own, within these bounds: ROWS_MAX rows
and their stacks take 59 MB, and are one second of 128 CPUs at 99 Hz."""


def rows_of(cpus: int, frequency: int) -> int:
    """Give how many rows a generation has room for."""
    return min(max(cpus * frequency * ROOM_S, ROWS_MIN), ROWS_MAX)


def _configure(spec: ObjectSpec, output: str, values: Mapping[str, Any]) -> None:
    frequency = values.get(FREQUENCY.name, FREQUENCY.default)
    spec.maps[output].max_entries = rows_of(possible_cpus(), int(frequency))


def _enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.comm import with_thread_name

    return (with_thread_name,)


PROBE = Probe(
    name="cpu",
    summary="which code runs on the CPUs: stacks, sampled by a clock",
    tables=(
        Table(
            name="samples",
            map="samples",
            other="samples_other",
            programs=("cpu_tick",),
            summary="stacks of user space and kernel, by process and thread name",
            columns=("pid", "comm", "stack", "count"),
            enrich=_enrichers,
            weight="count",
        ),
    ),
    knobs=(
        *CLOCK,
        Knob("no_user", "without user stacks", bool),
        Knob("no_kernel", "without kernel stacks", bool),
    ),
    variants=(Variant("tp_btf"), Variant("raw_tp", types=dict.fromkeys(FOLLOWERS, "raw_tracepoint"))),
    configure=_configure,
)
