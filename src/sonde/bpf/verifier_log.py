"""Where the verifier writes its log: bounded, for a loop that is too long has one of 100 MB and more."""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from typing import Any

from sonde._libbpf import ffi, lib

LOG_BYTES = 16 << 20
"""Room for a log. Since Linux 6.4 (kernel commit 121664093803) the end of a longer one is kept, before its beginning."""


class VerifierLog:
    """The log of the program that an object failed to load with; one room for all, since libbpf loads one by one.

    libbpf loads without a log first, and once more with it when that fails. Left to itself it would take 16 MB, then
    32, then more, and let the verifier begin anew each time. To be kept until the object is loaded.
    """

    def __init__(self, programs: Iterable[Any]) -> None:
        """Have the programs (``struct bpf_program *``) write their log here."""
        # Mapped, it is not there until it is written. (Freeing so much of malloc's would teach glibc to keep whatever
        # libbpf takes from now on: its thresholds grow with the largest block that was freed.)
        self._room = ffi.from_buffer("char[]", mmap.mmap(-1, LOG_BYTES))
        for program in programs:
            lib.bpf_program__set_log_buf(program, self._room, LOG_BYTES)

    @property
    def text(self) -> str | None:
        """What is in it; None where nothing was written. A log that was cut begins with a whole line."""
        written: bytes = ffi.string(self._room)
        if not written:
            return None
        if len(written) >= LOG_BYTES - 1:
            head, _, rest = written.partition(b"\n")
            written = rest or head
        return written.decode(errors="replace")
