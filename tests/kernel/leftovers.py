"""What the kernel still has of programs, maps and links, by their numbers."""

from __future__ import annotations

import os
import time

from sonde._libbpf import lib

GONE_WITHIN_S = 60.0


def exists(kind: str, number: int) -> bool:
    """Whether the kernel has a ``prog``, ``link`` or ``map`` of this number."""
    fd = getattr(lib, f"bpf_{kind}_get_fd_by_id")(number)
    if fd >= 0:
        os.close(fd)
    return bool(fd >= 0)


def wait_until_gone(kind: str, number: int) -> None:
    """The kernel frees programs and maps a little after their last user has gone."""
    end = time.monotonic() + GONE_WITHIN_S
    while exists(kind, number):
        assert time.monotonic() < end, f"{kind} {number} is still there"
        time.sleep(0.02)
