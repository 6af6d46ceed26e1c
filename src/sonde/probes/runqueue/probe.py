"""What the probe ``runqueue`` measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sonde.probe import FOLLOWERS, Knob, Probe, Table, Variant, Walk
from sonde.records.metrics import Metric

if TYPE_CHECKING:
    from sonde.records.model import Enricher, RecordBatch

SAMPLE_MAX = 2**32 - 1
ROWS_PER_CPU = 512
ROWS_MIN, ROWS_MAX = 10_240, 65_536


def _one_in(text: str) -> int:
    """Read what a sampled wait stands for; ValueError where that is none."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= SAMPLE_MAX):
        raise ValueError(f"{text!r} is no sample: give a number from 1 on, 1 for every wait")
    return int(text)


def _rows(cpus: int, values: Mapping[str, Any]) -> int:
    # A process has a row on each CPU.
    return min(ROWS_MAX, max(ROWS_MIN, ROWS_PER_CPU * cpus))


def _enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.comm import with_newest_comm
    from sonde.enrich.duration import with_quantiles

    return (with_newest_comm, _with_count, with_quantiles)


def _with_count(batch: RecordBatch) -> RecordBatch:
    """A wait is in a bucket, or it has no duration; those of ``other`` were on any CPU."""
    import numpy as np

    return batch.adding(
        {
            "count": np.asarray(batch["duration_buckets"]).sum(axis=1) + batch["untimed"],
            "cpu": np.ma.masked_array(batch["cpu"], mask=np.asarray(batch["is_other"])),
        }
    )


HOOKS = ("runqueue_woken", "runqueue_woken_new", "runqueue_switched")
PREPARE = (Walk("runqueue_prepare"),)
RAW = dict.fromkeys((*HOOKS, *FOLLOWERS), "raw_tracepoint")
IN_A_HASH = ("waiting", "runqueue_forked", "runqueue_prepare")
"""What task storage takes: there is none of it where the values of threads are in a hash."""

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
            metrics=(
                Metric(
                    name="sonde.runqueue.wait.duration",
                    kind="histogram",
                    unit="s",
                    description="How long threads that could run have waited for a CPU.",
                    value="duration_buckets",
                    factor=1e-9,
                    scale=1,
                    exponent=-30,
                    total="duration_sum_ns",
                    maximum="duration_max_ns",
                ),
                Metric(
                    name="sonde.runqueue.wait.untimed",
                    kind="counter",
                    unit="{wait}",
                    description="Waits for a CPU whose beginning was not seen, and that have no duration.",
                    value="untimed",
                ),
            ),
            cost_ns=255,
            rows=_rows,
            at_start=PREPARE,
            before_read=PREPARE,
        ),
    ),
    knobs=(
        Knob(
            "sample",
            "count one wait in N, chosen at random; totals become estimates",
            _one_in,
            metavar="N",
            symbol="sample_every",
        ),
    ),
    variants=(
        Variant("tp_btf", without=("waiting_by_task",)),
        # Before Linux 5.12 task storage is for LSM programs only.
        Variant("tp_btf, starts in a hash", globals={"in_task_storage": False}, without=IN_A_HASH),
        Variant(
            "raw_tp, starts in a hash",
            types=RAW,
            globals={"in_task_storage": False, "tasks_are_typed": False},
            without=IN_A_HASH,
        ),
    ),
)
