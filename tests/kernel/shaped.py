"""Loading shapes in tests: objects that sonde did not build, see ``plain``."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kernel.plain import shape
from sonde.bpf import Object, ObjectSpec, Program
from sonde.bpf.program import TestRun

PACKET = bytes(range(64))


@contextmanager
def opened(name: str) -> Iterator[ObjectSpec]:
    """A shape, not loaded."""
    with ObjectSpec.open(shape(name), name=name) as spec:
        yield spec


@contextmanager
def loaded(name: str, edit: Callable[[ObjectSpec], None] | None = None) -> Iterator[Object]:
    """A shape in the kernel; ``edit`` may change the spec before."""
    with opened(name) as spec:
        if edit is not None:
            edit(spec)
        with spec.load() as made:
            yield made


def send(program: Program, *, mark: int = 0, packet: bytes = PACKET, repeat: int = 1) -> TestRun:
    """Run a tc program on a packet with a mark (the third word of struct __sk_buff)."""
    return program.test_run(packet, ctx=struct.pack("III", 0, 0, mark), repeat=repeat)
