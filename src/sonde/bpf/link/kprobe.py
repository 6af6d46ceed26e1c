"""Any kernel function, by a breakpoint or a jump: entry, an instruction in it, or return."""

from __future__ import annotations

import errno
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from sonde._libbpf import ffi, lib
from sonde.bpf.link.attachment import attach_by_libbpf
from sonde.bpf.link.hook import (
    Hook,
    integer,
    join_options,
    needs,
    optional_integer,
    require_type,
    split_options,
)
from sonde.bpf.link.kernel_function import no_such_function
from sonde.bpf.link.link import Link
from sonde.bpf.link.perf_source import require_source
from sonde.errors import AttachError, KernelError

if TYPE_CHECKING:
    from sonde.bpf.program import Program


@dataclass(frozen=True, slots=True)
class Kprobe(Hook):
    """Attach to a kernel function, ``offset`` bytes behind its start, or (``retprobe``) to its return.

    Linux 4.17; ``cookie`` 5.15. Raises NotSupportedError without kprobes, AttachError with the nearest names where
    there is no such function.
    """

    kinds: ClassVar = {"kprobe": "kprobe:do_sys_openat2", "kretprobe": "kretprobe:do_sys_openat2"}

    function: str
    offset: int = 0
    _: KW_ONLY
    retprobe: bool = False
    cookie: int = 0

    def attach(self, program: Program) -> Link:
        require_type(program, self, "kprobe")
        require_source("kprobe", program, self)
        options = ffi.new("struct bpf_kprobe_opts *")
        options.sz = ffi.sizeof("struct bpf_kprobe_opts")
        options.bpf_cookie, options.offset, options.retprobe = self.cookie, self.offset, self.retprobe
        call, name = lib.bpf_program__attach_kprobe_opts, self.function.encode()
        try:
            return Link(
                program, self, attach_by_libbpf(program, self, lambda: call(program.pointer, name, options))
            )
        except KernelError as error:
            if error.errno == errno.ENOENT:
                raise no_such_function(program, self, self.function) from None
            if error.errno == errno.EADDRNOTAVAIL:
                raise AttachError(
                    f"attach program {program.name} to {self}",
                    why="several functions of the kernel have this name",
                    hint="kprobe.multi takes them all",
                    program=program.name,
                    hook=str(self),
                ) from None
            raise

    def __str__(self) -> str:
        offset = f"+{self.offset:#x}" if self.offset else ""
        return join_options(
            f"{'kretprobe' if self.retprobe else 'kprobe'}:{self.function}{offset}", cookie=self.cookie
        )

    @classmethod
    def parse(cls, text: str, *, kind: str = "kprobe") -> Self:
        place, options = split_options(text, kind, "cookie")
        function, _, offset = place.partition("+")
        if not function:
            raise needs(kind, "a kernel function", cls.kinds[kind])
        return cls(
            function,
            integer(offset, "the offset") if offset else 0,
            retprobe=kind == "kretprobe",
            cookie=optional_integer(options, "cookie") or 0,
        )
