"""What the probe ``offcpu`` measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sonde.duration import duration_ns
from sonde.errors import KnobError
from sonde.probe import STACKS, Knob, Probe, Table, Walk, per_task_variants
from sonde.records.metrics import Metric

if TYPE_CHECKING:
    from sonde.bpf import ObjectSpec
    from sonde.records.frames import Written
    from sonde.records.model import Enricher, RecordBatch

ROWS_PER_CPU = 512
ROWS_MIN, ROWS_MAX = 4096, 12_288
"""A row and its stacks take 4.7 KB, in two generations: ROWS_MAX are 58 MB."""

STATES = ("all", "blocked", "runnable")


def _state(text: str) -> str:
    if text not in STATES:
        raise ValueError(f"there is no state {text!r}: valid: {', '.join(STATES)}")
    return text


def _configure(spec: ObjectSpec, output: str, values: Mapping[str, Any]) -> None:
    state = values.get("state", "all")
    spec.knobs["no_blocked"].value = state == "runnable"
    spec.knobs["no_preempted"].value = state == "blocked"
    if values.get("max") and values.get("min", 0) > values["max"]:
        raise KnobError(
            "set max of probe offcpu", why="no block is shorter than max and longer than min", knob="max"
        )


def _rows(cpus: int, values: Mapping[str, Any]) -> int:
    return min(max(cpus * ROWS_PER_CPU, ROWS_MIN), ROWS_MAX)


def _enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.block_reason import with_block_reason
    from sonde.enrich.comm import with_thread_name
    from sonde.enrich.waker import with_waker
    from sonde.records.grouping import with_alike_stacks_together

    together = with_alike_stacks_together(ROW, (*MEASURES, "first_seen_ns"))
    return (with_thread_name, with_waker, with_block_reason, together, _without_unfinished)


def _without_scheduler(stack: Written) -> Written:
    from sonde.enrich.block_reason import without_scheduler

    return without_scheduler(stack)


def _without_unfinished(batch: RecordBatch) -> RecordBatch:
    """The smallest and the largest are of blocks that are over: unknown where none of a row's is."""
    import numpy as np

    none = np.asarray(batch["count"]) == np.asarray(batch["unfinished"])
    return batch.adding({name: np.ma.masked_array(batch[name], mask=none) for name in ("min_ns", "max_ns")})


WAKER = ("waker_pid", "waker_comm", "waker_user_stack", "waker_kernel_stack")
ROW = ("process_start_ns", "pid", "comm", "reason", "state", *WAKER)
MEASURES = ("count", "unfinished", "total_ns", "runqueue_ns", "min_ns", "max_ns")

HOOKS = ("offcpu_waking", "offcpu_switched")

WHY = {"sonde.offcpu.reason": "reason"}
"""Attributes; who was blocked is added by what exports them."""

TIME = Metric(
    name="sonde.offcpu.time",
    kind="counter",
    unit="s",
    description="How long threads were off their CPUs.",
    value="total_ns",
    attributes=WHY,
    factor=1e-9,
)
COUNT = Metric(
    name="sonde.offcpu.blocks",
    kind="counter",
    unit="{block}",
    description="How often threads left their CPUs, and got one again.",
    value="count",
    attributes=WHY,
)

PROBE = Probe(
    name="offcpu",
    summary="how long threads are off their CPUs, in which stacks, and why",
    tables=(
        Table(
            name="blocked",
            map="blocked",
            other="blocked_other",
            programs=("offcpu_forked", *HOOKS),
            summary="blocks by process, thread name, reason and stacks",
            sort="total_ns",
            columns=("pid", "comm", "reason", *MEASURES, "stack"),
            details=("state", *WAKER),
            shown_with={"waker": ("waker_comm",)},
            enrich=_enrichers,
            metrics=(TIME, COUNT),
            at_start=(Walk("offcpu_begin"),),
            before_read=(Walk("offcpu_walk"),),
            cost_ns=3073,
            weight="total_ns",
            shorten=_without_scheduler,
            rows=_rows,
        ),
    ),
    knobs=(
        Knob(
            "min",
            "only blocks that take at least this long",
            duration_ns,
            metavar="TIME",
            symbol="duration_min_ns",
            example="1ms",
        ),
        Knob(
            "max",
            "only blocks that take at most this long",
            duration_ns,
            metavar="TIME",
            symbol="duration_max_ns",
            example="10s",
        ),
        Knob(
            "state",
            "only threads that are blocked, or only those that are runnable and have no CPU",
            _state,
            default="all",
            metavar="all|blocked|runnable",
            is_global=False,
            example="blocked",
        ),
        Knob(
            "kernel_threads", "threads of the kernel, too", bool, symbol="with_kernel_threads", selects=False
        ),
        Knob(
            "waker", "tell who ended a block, and in which stacks", bool, symbol="with_waker", selects=False
        ),
        *STACKS,
    ),
    variants=per_task_variants("blocks", raw=HOOKS, only_in_storage=("offcpu_forked",)),
    configure=_configure,
)
