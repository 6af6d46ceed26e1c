"""The kernel's sources of perf events: kprobe and uprobe are two, each with a number that perf_event_open takes."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonde._libbpf import ffi, lib
from sonde.bpf.link.attachment import LibbpfLink, attach_by_libbpf, require_feature
from sonde.errors import KernelError

if TYPE_CHECKING:
    from sonde.bpf.link.hook import Hook
    from sonde.bpf.program import Program

SOURCES = Path("/sys/bus/event_source/devices")


def require_source(name: str, program: Program, hook: Hook) -> None:
    """Raise NotSupportedError where the kernel has no such source.

    libbpf would then write to kprobe_events in tracefs, which needs it mounted and stays when the process is killed.
    """
    if (SOURCES / name / "type").exists():
        return
    require_feature(name, program, hook)
    raise KernelError(
        errno.ENOENT,
        operation="attach program",
        subject=f"{program.name} to {hook}",
        why=f"{SOURCES / name} is missing",
        hint="mount sysfs: mount -t sysfs sysfs /sys",
    )


def attach_to_event(program: Program, hook: Hook, fd: int, *, cookie: int = 0) -> LibbpfLink:
    """Attach to an open perf event, which then belongs to the link; closed where that fails."""
    options = ffi.new("struct bpf_perf_event_opts *")
    options.sz = ffi.sizeof("struct bpf_perf_event_opts")
    options.bpf_cookie = cookie

    def call() -> Any:
        return lib.bpf_program__attach_perf_event_opts(program.pointer, fd, options)

    try:
        return attach_by_libbpf(program, hook, call)
    except BaseException:
        os.close(fd)
        raise
