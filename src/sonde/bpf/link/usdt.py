"""USDT: places that the authors of a program or library have marked and named."""

from __future__ import annotations

import errno
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from sonde._libbpf import ffi, lib
from sonde.bpf.link.attachment import attach_by_libbpf
from sonde.bpf.link.elf import usdt_probes, whole_path
from sonde.bpf.link.hook import Hook, join_options, needs, optional_integer, require_type, split_options
from sonde.bpf.link.link import Link
from sonde.bpf.link.perf_source import require_source
from sonde.bpf.link.uprobe import pid_argument, user_space_error
from sonde.errors import AttachError, KernelError, NotSupportedError

if TYPE_CHECKING:
    from sonde.bpf.program import Program


@dataclass(frozen=True, slots=True)
class Usdt(Hook):
    """Attach to each place of a file that is marked ``provider:name``, in every process or only in ``pid``.

    The program includes ``bpf/usdt.bpf.h``. Linux 4.20 (semaphores); in libraries without ``pid`` 5.15. The link has
    no descriptor of its own and cannot be pinned: libbpf holds one uprobe for each place.
    """

    kinds: ClassVar = {"usdt": "usdt:libc.so.6:libc:setjmp"}

    path: str
    provider: str
    name: str
    _: KW_ONLY
    pid: int | None = None
    cookie: int = 0

    def attach(self, program: Program) -> Link:
        require_type(program, self, "kprobe")
        require_source("uprobe", program, self)
        options = ffi.new("struct bpf_usdt_opts *")
        options.sz = ffi.sizeof("struct bpf_usdt_opts")
        options.usdt_cookie = self.cookie
        path = whole_path(self.path)
        texts = [text.encode() for text in (path, self.provider, self.name)]
        call, pid = lib.bpf_program__attach_usdt, pid_argument(self.pid)
        try:
            # The descriptor in libbpf's USDT link was never set: it is 0, which is somebody's standard input.
            link = attach_by_libbpf(
                program, self, lambda: call(program.pointer, pid, *texts, options), has_descriptor=False
            )
        except KernelError as error:
            raise self._explain(program, error, path) from None
        return Link(program, self, link)

    def _explain(self, program: Program, error: KernelError, path: str) -> Exception:
        """Say what the file has, where it has not what was asked for."""
        if error.errno == errno.EOPNOTSUPP and self.pid is None:
            return NotSupportedError(
                "USDT probes in every process",
                operation="attach program",
                subject=f"{program.name} to {self}",
                why="without cookies this kernel tells the probes of a library or relocatable program by their address",
                hint="give a pid, or use Linux 5.15 or later",
            )
        probes = usdt_probes(path)
        if f"{self.provider}:{self.name}" in probes:
            return user_space_error(program, self, error, path, self.name)
        shown = ", ".join(probes[:10]) + (f" and {len(probes) - 10} more" if len(probes) > 10 else "")
        return AttachError(
            f"attach program {program.name} to {self}",
            why=f"{path} has no USDT probe {self.provider}:{self.name}",
            hint=f"it has {shown or 'none at all'}",
            program=program.name,
            hook=str(self),
        )

    def __str__(self) -> str:
        return join_options(f"usdt:{self.path}:{self.provider}:{self.name}", pid=self.pid, cookie=self.cookie)

    @classmethod
    def parse(cls, text: str, *, kind: str = "usdt") -> Self:
        place, options = split_options(text, kind, "pid", "cookie")
        path, _, name = place.rpartition(":")
        path, _, provider = path.rpartition(":")
        if not (path and provider and name):
            raise needs(kind, "a file, a provider and a name", cls.kinds["usdt"])
        cookie = optional_integer(options, "cookie") or 0
        return cls(path, provider, name, pid=optional_integer(options, "pid"), cookie=cookie)
