"""What the kernel tells of a program, to whoever has its descriptor."""

from __future__ import annotations

from typing import Any

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import check


class ProgramInfo:
    """A program's number, its tag and the kernel's counts of its runs; needs no capability where bpf(2) does not.

    Subclasses give ``name`` and ``fd``.
    """

    __slots__ = ()

    name: str

    @property
    def fd(self) -> int:
        """Give the descriptor."""
        raise NotImplementedError

    def _read_info(self) -> Any:
        info = ffi.new("struct bpf_prog_info *")
        size = ffi.new("__u32 *", ffi.sizeof("struct bpf_prog_info"))
        check(lib.bpf_prog_get_info_by_fd(self.fd, info, size), "read the information of program", self.name)
        return info

    @property
    def id(self) -> int:
        """Number that the kernel gave the program."""
        return int(self._read_info().id)

    @property
    def tag(self) -> str:
        """SHA-based tag of the instructions, 16 hexadecimal digits."""
        return bytes(self._read_info().tag).hex()

    @property
    def run_count(self) -> int:
        """Runs counted by the kernel, only while ``run_statistics`` is open somewhere."""
        return int(self._read_info().run_cnt)

    @property
    def run_time_ns(self) -> int:
        """Nanoseconds spent in the program, only while ``run_statistics`` is open somewhere."""
        return int(self._read_info().run_time_ns)

    @property
    def recursion_misses(self) -> int:
        """Runs that the kernel skipped because the program was already running on that CPU; Linux 5.12."""
        return int(self._read_info().recursion_misses)

    @property
    def instructions_verified(self) -> int:
        """Instructions that the verifier walked; Linux 5.16, else 0."""
        return int(self._read_info().verified_insns)
