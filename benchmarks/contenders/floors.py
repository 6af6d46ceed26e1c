"""Empty programs of floor.bpf.c: what any program on a hook costs, and what fills the buffers that benchmarks empty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import built
from sonde.bpf import Object, ObjectSpec


@contextmanager
def loaded(*programs: str) -> Iterator[Object]:
    """Load these of its programs, and all of its maps, for the time of a block."""
    with ObjectSpec.open(built.bpf_object("contenders/floor").read_bytes(), name="floor") as spec:
        for name, program in spec.programs.items():
            program.autoload = name in programs
        with spec.load() as made:
            yield made


@contextmanager
def attached(*programs: str) -> Iterator[Object]:
    """Load these and attach them where they belong."""
    with loaded(*programs) as made:
        made.attach_all()
        yield made
