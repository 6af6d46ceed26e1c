"""Programs whose place was fixed when they were loaded: they know their target by its BTF."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonde._libbpf import ffi, lib
from sonde.bpf.link.attachment import attach_by_libbpf
from sonde.bpf.link.hook import wrong_section
from sonde.bpf.link.link import Link

if TYPE_CHECKING:
    from sonde.bpf.link.hook import Hook
    from sonde.bpf.program import Program, ProgramSpec


def attach_to_target(program: Program, hook: Hook, *, cookie: int = 0) -> Link:
    """Attach where the program was loaded for; a cookie needs Linux 5.18."""
    options = ffi.new("struct bpf_trace_opts *")
    options.sz = ffi.sizeof("struct bpf_trace_opts")
    options.cookie = cookie
    call = lib.bpf_program__attach_trace_opts
    return Link(program, hook, attach_by_libbpf(program, hook, lambda: call(program.pointer, options)))


def set_target(spec: ProgramSpec, target: str, *, section: str, attach_type: str) -> None:
    """Load a program for this target; raises SondeError for a program of another kind."""
    if spec.expected_attach_type != attach_type:
        raise wrong_section(spec, section)
    if spec.attach_target != target:
        spec.attach_target = target
