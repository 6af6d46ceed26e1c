"""What the probe ``cpu`` measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sonde.probe import CLOCK, FOLLOWERS, FREQUENCY, Knob, Probe, Table, Variant
from sonde.records.frames import COLUMNS as STACK_COLUMNS
from sonde.records.metrics import Metric

if TYPE_CHECKING:
    from sonde.records.model import Enricher, RecordBatch

ROOM_S, ROWS_MIN, ROWS_MAX = 4, 1024, 12_672
"""A generation has room for all samples of so many seconds, each of a stack of its own, within these bounds: ROWS_MAX rows
and their stacks take 59 MB, and are one second of 128 CPUs at 99 Hz."""


def _rows(cpus: int, values: Mapping[str, Any]) -> int:
    frequency = int(values.get(FREQUENCY.name, FREQUENCY.default))
    return min(max(cpus * frequency * ROOM_S, ROWS_MIN), ROWS_MAX)


def _enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.comm import with_thread_name

    return (with_thread_name, _with_alike_together)


def _with_alike_together(batch: RecordBatch) -> RecordBatch:
    """Make one row of stacks whose frames have the same names and lines: they differ by the instruction alone."""
    from sonde.records.grouping import grouped

    if STACK_COLUMNS[0] not in batch.columns:
        return batch
    return grouped(batch, ("process_start_ns", "pid", "comm", *STACK_COLUMNS), ("count", "first_seen_ns"))


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
    knobs=(
        *CLOCK,
        Knob("no_user", "without user stacks", bool, selects=False),
        Knob("no_kernel", "without kernel stacks", bool, selects=False),
    ),
    variants=(Variant("tp_btf"), Variant("raw_tp", types=dict.fromkeys(FOLLOWERS, "raw_tracepoint"))),
)
