"""Runs the probe's programs on frames of a test's, by BPF_PROG_TEST_RUN: no interface has to carry them."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sonde.bpf import Object, ObjectSpec
from sonde.errors import KernelError
from sonde.probe import Probe, Table
from sonde.probes import probe
from sonde.records.cells import Cells
from sonde.run.packaged import object_of
from sonde.run.reading import Reading

PASSES = {"xdp": 2, "sched_cls": 0xFFFFFFFF}
"""XDP_PASS, and TC_ACT_UNSPEC as test runs give it."""


@contextmanager
def loaded(output: str, *, max_entries: int | None = None) -> Iterator[tuple[Object, Reading]]:
    """Load a table's programs, active and attached nowhere."""
    packets: Probe = probe("packets")
    table = packets.output(output)
    assert isinstance(table, Table)
    with ObjectSpec.open(object_of(packets), name="packets") as spec:
        for name, program in spec.programs.items():
            program.autoload = name in table.programs
        if max_entries is not None:
            for name, room in (("", 0), ("_cells", 1), ("_free", 0)):
                if f"{output}{name}" in spec.maps:
                    spec.maps[f"{output}{name}"].max_entries = max_entries + room
        with spec.load() as made:
            cells = Cells.of(made, output)
            if cells is not None:
                cells.start()
            made.variables["active"].value = 1
            yield made, Reading(packets, table, made, values={})


def passed(made: Object, program: str, frames: Iterable[bytes], *, context: bytes = b"") -> list[bytes]:
    """Run a program on each frame; those it ran on, each of which it let pass.

    Test runs of traffic control refuse frames that end within their IP header.
    """
    ran = []
    runs = made.programs[program]
    for frame in frames:
        try:
            result = runs.test_run(frame, ctx=context)
        except KernelError as error:
            if error.errno != errno.EINVAL or runs.type == "xdp":
                raise
            continue
        assert result.return_value == PASSES[runs.type], f"{program} passes {frame.hex()}"
        assert result.data == frame, f"{program} changes nothing"
        ran.append(frame)
    return ran
