"""The kernel's sources of perf events: kprobe and uprobe are two, each with a number that perf_event_open takes."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sonde._libbpf import ffi, lib
from sonde.bpf.link.attachment import create_link, failure, require_feature
from sonde.errors import KernelError

if TYPE_CHECKING:
    from sonde.bpf.link.hook import Hook
    from sonde.bpf.program import Program

SOURCES = "/sys/bus/event_source/devices"
PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_DISABLE = 0x2400, 0x2401  # _IO('$', 0), _IO('$', 1)
PERF_EVENT_IOC_SET_BPF = 0x40042408  # _IOW('$', 8, __u32)

COARSE_S = 0.02
"""Longer than perf's clock stands still: without a better one it goes on at the timer's ticks, 100 a second and more."""


def require_source(name: str, program: Program, hook: Hook) -> None:
    """Raise NotSupportedError where the kernel has no such source.

    libbpf would then write to kprobe_events in tracefs, which needs it mounted and stays when the process is killed.
    """
    if os.path.exists(f"{SOURCES}/{name}/type"):
        return
    require_feature(name, program, hook)
    raise KernelError(
        errno.ENOENT,
        operation="attach program",
        subject=f"{program.name} to {hook}",
        why=f"{SOURCES}/{name} is missing",
        hint="mount sysfs: mount -t sysfs sysfs /sys",
    )


@dataclass(frozen=True, slots=True)
class PerfCount:
    """What a perf event has counted; for how long it was enabled, in ns.

    Its time stands still while its CPU is offline, and for ever once it was.
    """

    value: int = 0
    enabled_ns: int = 0


def count_of(event: int) -> PerfCount:
    """Read what an open perf event has counted; nothing where the kernel cannot schedule it."""
    size = ffi.sizeof("struct sonde_perf_count")
    data = os.read(event, size)
    if len(data) < size:
        return PerfCount()
    read = ffi.from_buffer("struct sonde_perf_count *", data)
    return PerfCount(int(read.value), int(read.enabled_ns))


def stopped_events(events: Iterable[int]) -> set[int]:
    """Find those of enabled events, each of one CPU, that never count again: their CPU was offline since they were opened.

    Their time stands still. That of all others goes on, also while they wait for a counter that others have. Takes
    COARSE_S where there are some.
    """
    before = {event: count_of(event).enabled_ns for event in events}
    still = {event for event, enabled_ns in before.items() if count_of(event).enabled_ns == enabled_ns}
    if still:
        time.sleep(COARSE_S)
    return {event for event in still if count_of(event).enabled_ns == before[event]}


class PerfAttachment:
    """A perf event with a program, by a link of the kernel's, or (before Linux 5.15) by the event alone.

    Not libbpf's: when that lets go of its link it also disables the event, and a pinned link would sample no more.
    """

    __slots__ = ("descriptors", "event")

    def __init__(self, event: int, link: int | None) -> None:
        self.event = event
        self.descriptors: tuple[int, ...] = (event if link is None else link,)

    def enable(self) -> None:
        """Have the event count, and sample."""
        fcntl.ioctl(self.event, PERF_EVENT_IOC_ENABLE, 0)

    def disable(self) -> None:
        """Have it count no more; when this returns its program has run for the last time."""
        fcntl.ioctl(self.event, PERF_EVENT_IOC_DISABLE, 0)

    def detach(self) -> None:
        if self.descriptors != (self.event,):
            os.close(self.descriptors[0])
        os.close(self.event)


def attach_to_event(program: Program, hook: Hook, event: int, *, cookie: int = 0) -> PerfAttachment:
    """Attach to an open perf event, which then belongs to the attachment; closed where that fails."""
    try:
        result = create_link(program, event, lib.BPF_PERF_EVENT, cookie=cookie)
        if result == -errno.EINVAL:
            if cookie:
                require_feature("cookie", program, hook)
            # A kernel without perf links; with them it would refuse the ioctl as it refused the link.
            fcntl.ioctl(event, PERF_EVENT_IOC_SET_BPF, program.fd)
            return PerfAttachment(event, None)
        if result < 0:
            raise failure(program, hook, result)
        return PerfAttachment(event, result)
    except BaseException as error:
        os.close(event)
        if type(error) is OSError:
            raise failure(program, hook, error.errno or errno.EIO) from None
        raise
