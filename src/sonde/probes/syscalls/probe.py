"""What the probe ``syscalls`` measures, and how its knobs reach the kernel."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sonde.duration import duration_ns
from sonde.errors import KnobError
from sonde.probe import FOLLOWERS, Knob, Probe, Stream, Table, Variant, sample_of
from sonde.records.metrics import Metric, durations

if TYPE_CHECKING:
    from sonde.bpf import ObjectSpec
    from sonde.records.model import Enricher, RecordBatch

SET_BITS = 1024  # SYSCALL_SET_BITS in probe.bpf.c


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.replace(",", " ").split() if name)


def _configure(spec: ObjectSpec, output: str, values: Mapping[str, Any]) -> None:
    if values.get("errors") and output == "counts":
        raise KnobError(
            "set errors of probe syscalls",
            why="calls are counted when they begin, before there is an error",
            hint="leave out --count-only or --errors",
            knob="errors",
        )
    if values.get("syscall"):
        _select(spec, values["syscall"])


def _select(spec: ObjectSpec, names: Iterable[str]) -> None:
    from sonde.enrich.syscall_name import syscall_numbers

    native, compat = [0] * (SET_BITS // 64), [0] * (SET_BITS // 64)
    for name in names:
        numbers = syscall_numbers(name, os.uname().machine)
        # x32 programs have some calls of their own, whose numbers no other native call has.
        for words, number in ((native, numbers.native), (native, numbers.x32), (compat, numbers.compat)):
            if number is not None:
                words[number // 64] |= 1 << number % 64
    spec.knobs["only_syscalls"].value = True
    spec.knobs["syscalls_native"].value = native
    spec.knobs["syscalls_compat"].value = compat


def _table_enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.comm import with_newest_comm
    from sonde.enrich.errno_name import with_error_name
    from sonde.enrich.syscall_name import with_syscall_name

    return (with_newest_comm, with_syscall_name, with_error_name)


def _latency_enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.duration import with_count, with_quantiles

    return (*_table_enrichers(), with_count("untimed"), with_quantiles)


def _counts_enrichers() -> tuple[Enricher, ...]:
    return (*_table_enrichers(), _without_durations)


def _stream_enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.comm import with_comm
    from sonde.enrich.errno_name import with_error_name
    from sonde.enrich.syscall_name import with_syscall_name
    from sonde.enrich.times import with_times

    return (with_times, with_comm, with_syscall_name, with_error_name)


def _without_durations(batch: RecordBatch) -> RecordBatch:
    import numpy as np

    unknown = np.ma.masked_array(np.zeros(len(batch), np.uint64), mask=True)
    return batch.adding(dict.fromkeys(DURATIONS, unknown))


RAW = dict.fromkeys(
    ("count_enter", "latency_enter", "latency_exit", "stream_enter", "stream_exit", *FOLLOWERS),
    "raw_tracepoint",
)
DURATIONS = ("duration_sum_ns", "duration_p50_ns", "duration_p99_ns", "duration_max_ns")
ROW = ("pid", "comm", "syscall", "error", "count", *DURATIONS)

CALL = {"sonde.syscall.name": "syscall"}
RESULT = {**CALL, "error.type": "error"}
"""Attributes; who made the call is added by what exports them."""

DURATION = durations("sonde.syscall.duration", "Duration of system calls, by call and error.", RESULT)
UNTIMED = Metric(
    name="sonde.syscall.untimed",
    kind="counter",
    unit="{call}",
    description="System calls whose beginning or end was not seen, and that have no duration.",
    value="untimed",
    attributes=RESULT,
)
COUNT = Metric(
    name="sonde.syscall.count",
    kind="counter",
    unit="{call}",
    description="System calls, counted when they begin.",
    value="count",
    attributes=CALL,
)

PROBE = Probe(
    name="syscalls",
    summary="system calls by process, call and error, with their latency",
    tables=(
        Table(
            name="latency",
            map="latency",
            other="latency_other",
            programs=("latency_enter", "latency_exit"),
            summary="calls and their latency, counted when they return",
            counted=("untimed", "duration_buckets"),
            columns=ROW,
            enrich=_latency_enrichers,
            metrics=(DURATION, UNTIMED),
            cost_ns=261,
            grows=True,
        ),
        Table(
            name="counts",
            map="counts",
            other="counts_other",
            programs=("count_enter",),
            summary="calls only, counted when they begin: cheaper, no errors, no latency",
            flag="--count-only",
            counted=("count",),
            columns=ROW,
            enrich=_counts_enrichers,
            metrics=(COUNT,),
            cost_ns=87,
        ),
    ),
    streams=(
        Stream(
            name="calls",
            map="calls",
            programs=("stream_enter", "stream_exit"),
            summary="each call with its arguments, result and latency",
            columns=("time", "pid", "tid", "comm", "syscall", "args", "result", "error", "duration_ns"),
            enrich=_stream_enrichers,
            cost_ns=184,
        ),
    ),
    knobs=(
        Knob(
            "syscall",
            "only these calls, by name, separated by commas",
            _names,
            metavar="NAMES",
            is_global=False,
            example="openat,read",
        ),
        Knob("errors", "only calls that fail", bool, symbol="only_errors", outputs=("latency", "calls")),
        sample_of("call"),
        Knob(
            "min_latency",
            "only calls that take at least this long",
            duration_ns,
            metavar="TIME",
            symbol="latency_min_ns",
            outputs=("calls",),
            example="10ms",
        ),
    ),
    variants=(
        Variant("tp_btf", without=("starts_by_task",)),
        Variant("raw_tp", types=RAW, without=("starts_by_task",)),
        # Before Linux 5.12 task storage is for LSM programs only.
        Variant(
            "tp_btf, starts in a hash",
            globals={"in_task_storage": False},
            programs=("task_exit",),
            without=("starts",),
        ),
    ),
    configure=_configure,
    unattended=("counts",),
)
