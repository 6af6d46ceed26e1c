"""Functions of programs and libraries: entry, an instruction in one, or return."""

from __future__ import annotations

import errno
import os
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from sonde._libbpf import ffi, lib
from sonde.bpf.link.attachment import attach_by_libbpf
from sonde.bpf.link.elf import nearest_symbols, whole_path
from sonde.bpf.link.hook import (
    Hook,
    integer,
    join_options,
    needs,
    optional_integer,
    require_type,
    split_options,
)
from sonde.bpf.link.link import Link
from sonde.bpf.link.perf_source import require_source
from sonde.errors import AttachError, KernelError

if TYPE_CHECKING:
    from sonde.bpf.program import Program


@dataclass(frozen=True, slots=True)
class Uprobe(Hook):
    """Attach to a function of a file, or (``retprobe``) to its return, in every process or only in ``pid``.

    ``path`` is a file, or a bare name that is looked up as the shell and the loader do (``libc.so.6``). ``offset``
    counts from the symbol, or from the start of the file where the symbol is empty. Linux 4.17; ``cookie`` 5.15.
    """

    kinds: ClassVar = {
        "uprobe": "uprobe:/bin/bash:readline,pid=1234",
        "uretprobe": "uretprobe:libc.so.6:malloc",
    }

    path: str
    symbol: str = ""
    offset: int = 0
    _: KW_ONLY
    pid: int | None = None
    retprobe: bool = False
    cookie: int = 0

    def attach(self, program: Program) -> Link:
        require_type(program, self, "kprobe")
        require_source("uprobe", program, self)
        options = ffi.new("struct bpf_uprobe_opts *")
        options.sz = ffi.sizeof("struct bpf_uprobe_opts")
        options.bpf_cookie, options.retprobe = self.cookie, self.retprobe
        symbol = ffi.new("char[]", self.symbol.encode())
        options.func_name = symbol if self.symbol else ffi.NULL
        path = whole_path(self.path)
        call, c_path, pid = lib.bpf_program__attach_uprobe_opts, os.fsencode(path), pid_argument(self.pid)
        try:
            link = attach_by_libbpf(
                program, self, lambda: call(program.pointer, pid, c_path, self.offset, options)
            )
        except KernelError as error:
            raise user_space_error(program, self, error, path, self.symbol) from None
        return Link(program, self, link)

    def __str__(self) -> str:
        offset = f"{self.offset:#x}" if self.offset or not self.symbol else ""
        place = "+".join(part for part in (self.symbol, offset) if part)
        kind = "uretprobe" if self.retprobe else "uprobe"
        return join_options(f"{kind}:{self.path}:{place}", pid=self.pid, cookie=self.cookie)

    @classmethod
    def parse(cls, text: str, *, kind: str = "uprobe") -> Self:
        place, options = split_options(text, kind, "pid", "cookie")
        path, _, function = place.rpartition(":")
        if not path or not function:
            raise needs(kind, "a file and a function", cls.kinds[kind])
        symbol, _, offset = function.partition("+")
        if symbol[:1].isdigit():
            symbol, offset = "", symbol
        return cls(
            path,
            symbol,
            integer(offset, "the offset") if offset else 0,
            pid=optional_integer(options, "pid"),
            retprobe=kind == "uretprobe",
            cookie=optional_integer(options, "cookie") or 0,
        )


def pid_argument(pid: int | None) -> int:
    """A process as libbpf wants it: -1 is every one."""
    return -1 if pid is None else pid


def user_space_error(program: Program, hook: Hook, error: KernelError, path: str, symbol: str) -> Exception:
    """Say what of a user-space place is not there; any other error is given back as it is."""
    if error.errno == errno.ESRCH:
        what = f"attach program {program.name} to {hook}"
        return AttachError(what, why="there is no such process", program=program.name, hook=str(hook))
    return no_such_symbol(program, hook, path, symbol) if error.errno == errno.ENOENT else error


def no_such_symbol(program: Program, hook: Hook, path: str, symbol: str) -> AttachError:
    """Say that a file has no such function, and what comes near."""
    near = nearest_symbols(path, symbol)
    return AttachError(
        f"attach program {program.name} to {hook}",
        why=f"{path} has no function {symbol}",
        hint=f"the nearest are {', '.join(near)}"
        if near
        else "the file may be stripped, or have it from a library",
        program=program.name,
        hook=str(hook),
    )
