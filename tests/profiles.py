"""Profiles for tests: stacks with frames of every kind, marks, and names that would like to break out of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sonde.records.accounting import Accounting
from sonde.records.frames import (
    INLINED,
    INTERPRETED,
    KERNEL,
    MARK,
    STACK,
    UNKNOWN,
    Frame,
    columns_of,
    written,
)
from sonde.records.model import Column, RecordBatch, Schema
from sonde.records.profile import Measured, Profile, ProfileReader

BEGAN_NS = 1_782_907_200_000_000_000
WORK, LIBC, PYTHON = "/srv/bin/work", "/usr/lib/libc.so.6", "/usr/bin/python3.11"
HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    '"><script>document.title="out"</script>',
    "a;b\n<!--<script>",
    "\u202egnp.exe\x1b[31m\x00",
    b"no utf8 \xff".decode(errors="surrogateescape"),
    "${7*7}{{7*7}}</title></style><h1>",
    "</script /x",
)

Row = tuple[int, str, Sequence[Frame], int]
"""A process, its thread's name, a stack, and how often."""

_MAIN = [Frame("_start", module=WORK), Frame("main", module=WORK, file="work.c", line=40)]
_READ = [
    Frame("read", module=LIBC),
    Frame("do_syscall_64", KERNEL, "[kernel]"),
    Frame("vfs_read", KERNEL, "[kernel]"),
]

ROWS: Sequence[Row] = (
    (41, "work", [*_MAIN, Frame("seventy", module=WORK, file="work.c", line=12)], 63),
    (41, "work", [*_MAIN, Frame("seventy", module=WORK, file="work.c", line=13)], 7),
    (
        41,
        "work",
        [
            *_MAIN,
            Frame("twenty(int)", module=WORK, file="work.cc", line=7),
            Frame("clamp<int>(int, int)", INLINED, WORK, "clamp.h", 3),
            Frame("less(int, int)", INLINED, WORK, "less.h", 9),
        ],
        20,
    ),
    (43, "work", [*_MAIN, *_READ], 10),
    (
        50,
        "python3",
        [
            Frame("Py_RunMain", module=PYTHON),
            Frame("py::run:/srv/job.py", INTERPRETED, "", "/srv/job.py", 3),
            Frame("py::run:/srv/job.py", INTERPRETED, "", "/srv/job.py", 3),
            Frame("0x7f31c00123a4", UNKNOWN, "/usr/lib/libz.so.1"),
        ],
        31,
    ),
    (51, "python3", [Frame("[broken off]", MARK), Frame("PyDict_GetItem", module=PYTHON)], 11),
    (52, "sshd", [Frame("[no stack: it has ended]", MARK)], 3),
    (
        0,
        "ksoftirqd/0",
        [Frame("kthread", KERNEL, "[kernel]"), Frame("virtnet_poll", KERNEL, "[virtio_net]")],
        5,
    ),
)
TOTAL = 150


def hostile_rows() -> list[Row]:
    """Give rows whose every name is hostile."""
    return [
        (
            60 + at,
            name,
            [Frame(name, module=name, file=name, line=1), Frame(f"{name}!", INLINED, name)],
            at + 1,
        )
        for at, name in enumerate(HOSTILE)
    ]


def texts(values: Sequence[Any]) -> Any:
    """Make a column of text."""
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def batch_of(
    rows: Sequence[Row] = ROWS,
    *,
    final: bool = True,
    seconds: float = 10,
    name: str = "cpu.samples",
    weight: str = "count",
) -> RecordBatch:
    """Make a table's batch; a weight in ``…_ns`` is a million for each time."""
    counts = np.array([row[3] for row in rows], np.uint64)
    columns: dict[str, Any] = {
        "pid": np.array([row[0] for row in rows], np.uint32),
        "comm": texts([row[1] for row in rows]),
        **columns_of([written(row[2]) for row in rows]),
        "count": counts,
    }
    if weight != "count":
        columns[weight] = counts * np.uint64(1_000_000)
    meanings = {"comm": "sonde_comm_t", "stack": STACK}
    keys = ("pid", "comm", "stack")
    schema = Schema(name, tuple(Column(each, meanings.get(each, ""), each in keys) for each in columns))
    total = int(counts.sum())
    accounting = Accounting(
        seen=total + 9, aggregated=total, filtered=7, lost={"skipped": 2, "map_full": 0}, final=final
    )
    return RecordBatch(schema, columns, accounting, BEGAN_NS + round(seconds * 1e9))


def measured(batch: RecordBatch, *, weight: str = "count") -> Measured:
    """Say what a batch is of."""
    return Measured(
        title="sonde profile cpu",
        request="-- make -j2 check",
        host="build-17",
        began_ns=BEGAN_NS,
        duration_ns=batch.time_ns - BEGAN_NS,
        weight=weight,
        frequency_hz=99.0 if weight == "count" else 0.0,
        accounting=batch.accounting,
    )


def profile_of(rows: Sequence[Row] = ROWS, *, weight: str = "count") -> Profile:
    """Make a profile."""
    batch = batch_of(rows, weight=weight)
    return ProfileReader().read(batch, measured(batch, weight=weight))
