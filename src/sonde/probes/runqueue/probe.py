"""What the probe ``runqueue`` measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sonde.probe import Probe, Table, Walk, per_task_variants, sample_of
from sonde.records.metrics import Metric, durations

if TYPE_CHECKING:
    from sonde.records.model import Enricher, RecordBatch

ROWS_PER_CPU = 512
ROWS_MIN, ROWS_MAX = 10_240, 65_536


def _rows(cpus: int, values: Mapping[str, Any]) -> int:
    # A process has a row on each CPU.
    return min(ROWS_MAX, max(ROWS_MIN, ROWS_PER_CPU * cpus))


def _enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.comm import with_newest_comm
    from sonde.enrich.duration import with_count, with_quantiles

    return (with_newest_comm, with_count("untimed"), with_quantiles, _without_cpu_of_other)


def _without_cpu_of_other(batch: RecordBatch) -> RecordBatch:
    """The waits of ``other`` were on any CPU."""
    import numpy as np

    return batch.adding({"cpu": np.ma.masked_array(batch["cpu"], mask=np.asarray(batch["is_other"]))})


HOOKS = ("runqueue_woken", "runqueue_woken_new", "runqueue_switched")
PREPARE = (Walk("runqueue_prepare"),)

DURATION = durations("sonde.runqueue.wait.duration", "How long threads that could run have waited for a CPU.")
UNTIMED = Metric(
    name="sonde.runqueue.wait.untimed",
    kind="counter",
    unit="{wait}",
    description="Waits for a CPU whose beginning was not seen, and that have no duration.",
    value="untimed",
)

PROBE = Probe(
    name="runqueue",
    summary="how long threads that could run wait for a CPU",
    tables=(
        Table(
            name="waits",
            map="waits",
            other="waits_other",
            programs=("runqueue_forked", *HOOKS),
            summary="waits for a CPU by process and CPU, as histograms",
            counted=("untimed", "duration_buckets"),
            sort="duration_sum_ns",
            columns=(
                "pid",
                "comm",
                "cpu",
                "count",
                "duration_sum_ns",
                "duration_p50_ns",
                "duration_p99_ns",
                "duration_max_ns",
            ),
            enrich=_enrichers,
            metrics=(DURATION, UNTIMED),
            cost_ns=238,
            rows=_rows,
            at_start=PREPARE,
            before_read=PREPARE,
        ),
    ),
    knobs=(sample_of("wait"),),
    variants=per_task_variants("waiting", raw=HOOKS, only_in_storage=("runqueue_forked", "runqueue_prepare")),
)
