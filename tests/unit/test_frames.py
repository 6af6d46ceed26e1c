"""Stacks as columns: what goes in comes out, and what was damaged breaks nothing."""

from __future__ import annotations

from sonde.records.frames import (
    COLUMNS,
    INLINED,
    INTERPRETED,
    KERNEL,
    NOTHING,
    UNKNOWN,
    Frame,
    columns_of,
    frames_of,
    written,
)

STACK = [
    Frame("main", module="/usr/bin/work", file="/src/work.c", line=12),
    Frame("py::run:/srv/a.py", INTERPRETED, file="/srv/a.py"),
    Frame("clamp<int>(int)", INLINED, "/usr/bin/work"),
    Frame("0x7f00deadbeef", UNKNOWN),
    Frame("do_syscall_64", KERNEL, "[kernel]"),
]


def row_of(columns: dict[str, object], at: int = 0) -> dict[str, str]:
    return {name: columns[name][at] for name in COLUMNS}  # type: ignore[index]


def test_a_stack_survives_its_columns() -> None:
    columns = columns_of([written(STACK), NOTHING])
    assert frames_of(row_of(columns)) == STACK
    assert frames_of(row_of(columns, 1)) == []
    assert columns["stack"][0].split(";")[0] == "main"


def test_a_separator_in_a_name_makes_no_frame() -> None:
    """A path may hold anything but NUL and a slash."""
    (frame,) = frames_of(row_of(columns_of([written([Frame("a;b", module="/tmp/x;y\nz")])])))
    assert (frame.name, frame.module) == ("a:b", "/tmp/x:y z")


def test_columns_that_do_not_fit_together_are_read_as_far_as_they_go() -> None:
    row = {"stack": "a;b", "frame_kinds": "nk?", "frame_modules": None, "frame_sources": "x.c:1;x.c:"}
    assert frames_of(row) == [
        Frame("a", file="x.c", line=1),
        Frame("b", KERNEL, file="x.c:"),
        Frame("", UNKNOWN),
    ]
