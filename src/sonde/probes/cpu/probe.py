"""What the probe ``cpu`` measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sonde.probe import CLOCK, FOLLOWERS, FREQUENCY, STACKS, Probe, Table, Variant
from sonde.records.metrics import Metric

if TYPE_CHECKING:
    from sonde.records.model import Enricher

ROOM_S, ROWS_MIN, ROWS_MAX = 4, 1024, 12_672
"""A generation has room for all samples of so many seconds, each of a stack of its own, within these bounds: ROWS_MAX rows
and their stacks take 59 MB, and are one second of 128 CPUs at 99 Hz."""


def _rows(cpus: int, values: Mapping[str, Any]) -> int:
    frequency = int(values.get(FREQUENCY.name, FREQUENCY.default))
    return min(max(cpus * frequency * ROOM_S, ROWS_MIN), ROWS_MAX)


def _enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.comm import with_thread_name
    from sonde.records.grouping import with_alike_stacks_together

    together = with_alike_stacks_together(("process_start_ns", "pid", "comm"), ("count", "first_seen_ns"))
    return (with_thread_name, together)


SAMPLES = Metric(
    name="sonde.cpu.samples",
    kind="counter",
    unit="{sample}",
    description="Ticks of the profile's clock, one for each CPU, at which the process was running.",
    value="count",
)

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
            columns=("pid", "comm", "count", "stack"),
            enrich=_enrichers,
            metrics=(SAMPLES,),
            cost_ns=4_100,
            weight="count",
            rows=_rows,
        ),
    ),
    knobs=(*CLOCK, *STACKS),
    variants=(Variant("tp_btf"), Variant("raw_tp", types=dict.fromkeys(FOLLOWERS, "raw_tracepoint"))),
)
