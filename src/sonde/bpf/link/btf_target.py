"""Programs whose place was fixed when they were loaded: they know their target by its BTF."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from sonde._libbpf import ffi, lib
from sonde.bpf.link.attachment import attach_by_libbpf
from sonde.bpf.link.hook import wrong_section
from sonde.bpf.link.kernel_function import nearest_functions
from sonde.bpf.link.link import Link
from sonde.errors import AttachError, KernelError, NotSupportedError

if TYPE_CHECKING:
    from sonde.bpf.link.hook import Hook
    from sonde.bpf.program import Program, ProgramSpec

PREFIXES = {"trace_raw_tp": "__traceiter_", "lsm_mac": "bpf_lsm_"}
"""Attach type → what stands in front of the target's name among the kernel's symbols."""


def attach_to_target(program: Program, hook: Hook, target: str, *, cookie: int = 0) -> Link:
    """Attach where the program was loaded for, which has to be ``target``; a cookie needs Linux 5.18."""
    if program.attach_target != target:
        raise AttachError(
            f"attach program {program.name} to {hook}",
            why=f"it was loaded for {program.attach_target}, and the verifier has checked it for that",
            hint="call the hook's configure(spec.programs[…]) before load()",
            program=program.name,
            hook=str(hook),
        )
    options = ffi.new("struct bpf_trace_opts *")
    options.sz = ffi.sizeof("struct bpf_trace_opts")
    options.cookie = cookie
    call = lib.bpf_program__attach_trace_opts
    try:
        return Link(program, hook, attach_by_libbpf(program, hook, lambda: call(program.pointer, options)))
    except KernelError as error:
        if not cookie or error.errno != errno.EINVAL:
            raise
        raise NotSupportedError(
            "cookies of programs with a BTF target",
            errno=error.errno,
            operation="attach program",
            subject=f"{program.name} to {hook}",
            provides="Linux 5.18 or later, or a program of its own for each place",
        ) from None


def set_target(spec: ProgramSpec, target: str, *, section: str, attach_type: str) -> None:
    """Load a program for this target; raises SondeError for a program of another kind."""
    if spec.expected_attach_type != attach_type:
        raise wrong_section(spec, section)
    if spec.attach_target == target:
        return
    try:
        spec.attach_target = target
    except KernelError as error:
        if error.errno not in (errno.ESRCH, errno.ENOENT):
            raise
        near = nearest_functions(target, prefix=PREFIXES.get(attach_type, ""))
        raise AttachError(
            f"load program {spec.name} for {section}:{target}",
            why=f"the kernel's types have no {target} that {section} could take",
            hint=f"the nearest are {', '.join(near)}" if near else "list them with: bpftool btf dump id 1",
            program=spec.name,
            hook=f"{section}:{target}",
        ) from None
