"""How the C library keeps memory that was freed, in a process that is sonde's own."""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
LARGE_BYTES = 128 * 1024
"""Where the C library's bound is at first."""


def give_back_large_blocks() -> None:
    """Have what is large given back to the kernel when it is freed, always (mallopt(3)).

    By itself glibc lets its bound rise with what is freed: then tables that are read again and again come to lie in the
    heap, and leave gaps there that grow for as long as the process lives. Where there is no mallopt (musl) nothing rises.
    """
    _mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def share_one_arena() -> None:
    """Have all threads allocate from one heap: by itself glibc gives each its own, which keeps what was freed there.

    Threads would wait less for each other; the interpreter lets one run at a time anyway.
    """
    _mallopt(M_ARENA_MAX, 1)


def _mallopt(parameter: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(parameter, value)
