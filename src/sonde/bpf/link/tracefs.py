"""The tracing file system, wherever it is: mounted by the system, or a private mount of our own."""

from __future__ import annotations

import functools
import os

from sonde._libbpf import lib
from sonde._libbpf.check import check

MOUNT_POINTS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")


@functools.cache
def tracefs() -> str:
    """Give a path below which tracefs lies.

    Where the system has not mounted it, it is mounted nowhere: fsmount(2) gives a descriptor that only this
    process sees and that goes with it (Linux 5.2, CAP_SYS_ADMIN). Raises KernelError.
    """
    for path in MOUNT_POINTS:
        if os.path.exists(f"{path}/events"):
            return path
    root = check(
        lib.sonde_mount_detached(b"tracefs"),
        "open the tracing file system",
        capability="CAP_SYS_ADMIN",
        hint="mount it: mount -t tracefs tracefs /sys/kernel/tracing",
    )
    return f"/proc/self/fd/{root}"
