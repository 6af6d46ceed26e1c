"""Raw tracepoints: the arguments as the kernel passes them, without the tracepoint's record."""

from __future__ import annotations

import errno
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from sonde._libbpf import ffi, lib
from sonde.bpf.link.attachment import attach_by_libbpf
from sonde.bpf.link.hook import Hook, join_options, needs, optional_integer, require_type, split_options
from sonde.bpf.link.link import Link
from sonde.errors import AttachError, KernelError, NotSupportedError

if TYPE_CHECKING:
    from sonde.bpf.program import Program


@dataclass(frozen=True, slots=True)
class RawTracepoint(Hook):
    """Attach a raw_tracepoint program to a tracepoint by its bare name: ``sys_enter``. Linux 4.17.

    ``cookie`` needs Linux 6.10.
    """

    kinds: ClassVar = {"raw_tp": "raw_tp:sys_enter", "raw_tracepoint": "raw_tracepoint:sys_enter"}

    name: str
    _: KW_ONLY
    cookie: int = 0

    def attach(self, program: Program) -> Link:
        require_type(program, self, "raw_tracepoint", "raw_tracepoint_writable")
        require_cookies(program, self, self.cookie)
        options = ffi.new("struct bpf_raw_tracepoint_opts *")
        options.sz = ffi.sizeof("struct bpf_raw_tracepoint_opts")
        options.cookie = self.cookie
        call, name = lib.bpf_program__attach_raw_tracepoint_opts, self.name.encode()
        try:
            return Link(
                program, self, attach_by_libbpf(program, self, lambda: call(program.pointer, name, options))
            )
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            raise AttachError(
                f"attach program {program.name} to {self}",
                why="this kernel has no such tracepoint",
                hint="give the name without a group, as the second column of available_events in tracefs shows it",
                program=program.name,
                hook=str(self),
            ) from None

    def __str__(self) -> str:
        return join_options(f"raw_tp:{self.name}", cookie=self.cookie)

    @classmethod
    def parse(cls, text: str, *, kind: str = "raw_tp") -> Self:
        name, options = split_options(text, kind, "cookie")
        if not name:
            raise needs(kind, "the name of a tracepoint", cls.kinds["raw_tp"])
        return cls(name, cookie=optional_integer(options, "cookie") or 0)


def require_cookies(program: Program, hook: Hook, cookie: int) -> None:
    """Raise NotSupportedError where a raw tracepoint's link keeps no cookie: some kernels take one and lose it.

    They came with Linux 6.10, commit 68ca5d4eebb8.
    """
    if not cookie:
        return
    from sonde.bpf.btf import Btf, Struct

    link = Btf.kernel().find("bpf_raw_tp_link", Struct)
    if link is None or all(member.name != "cookie" for member in link.members):
        raise NotSupportedError(
            "cookies of raw tracepoints",
            operation="attach program",
            subject=f"{program.name} to {hook}",
            provides="Linux 6.10 or later, or a program of its own for each place",
        )
