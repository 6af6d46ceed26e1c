"""Many functions of one file at once, by one link and one registration."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from sonde._libbpf import ffi, lib
from sonde.bpf.link.attachment import LibbpfLink, attach_by_libbpf, require_feature
from sonde.bpf.link.elf import function_offsets, whole_path
from sonde.bpf.link.hook import (
    Hook,
    join_options,
    needs,
    optional_integer,
    require_type,
    split_options,
    wrong_section,
)
from sonde.bpf.link.kprobe_multi import pattern_or_names
from sonde.bpf.link.link import Link
from sonde.bpf.link.uprobe import no_such_symbol, pid_argument, user_space_error
from sonde.errors import KernelError

if TYPE_CHECKING:
    from sonde.bpf.program import Program, ProgramSpec


@dataclass(frozen=True, slots=True)
class UprobeMulti(Hook):
    """Attach to each function of a file that a pattern (``SSL_*``) matches, or to each of a tuple of names.

    Linux 6.6. ``cookie`` is the same at each, and only for names.
    """

    kinds: ClassVar = {
        "uprobe.multi": "uprobe.multi:libssl.so.3:SSL_*",
        "uretprobe.multi": "uretprobe.multi:libc.so.6:malloc,free",
    }

    path: str
    functions: str | tuple[str, ...]
    _: KW_ONLY
    pid: int | None = None
    retprobe: bool = False
    cookie: int = 0

    def attach(self, program: Program) -> Link:
        require_type(program, self, "kprobe")
        path = whole_path(self.path)
        try:
            return Link(program, self, self._attach(program, path))
        except KernelError as error:
            require_feature("uprobe_multi", program, self)
            raise user_space_error(program, self, error, path, str(self.functions)) from None

    def configure(self, spec: ProgramSpec) -> None:
        if spec.expected_attach_type != "trace_uprobe_multi":
            raise wrong_section(spec, "uprobe.multi")

    def _attach(self, program: Program, path: str) -> LibbpfLink:
        options = ffi.new("struct bpf_uprobe_multi_opts *")
        options.sz = ffi.sizeof("struct bpf_uprobe_multi_opts")
        options.retprobe = self.retprobe
        pattern, places = ffi.NULL, []
        if isinstance(self.functions, str):
            pattern = ffi.new("char[]", self.functions.encode())
        else:
            places = self._offsets(program, path, self.functions)
        offsets = ffi.new("unsigned long[]", places)
        cookies = ffi.new("unsigned long long[]", [self.cookie] * len(places))
        if places:
            options.cnt, options.offsets = len(places), offsets
        if self.cookie:
            options.cookies = cookies
        call, c_path, pid = lib.bpf_program__attach_uprobe_multi, os.fsencode(path), pid_argument(self.pid)
        return attach_by_libbpf(program, self, lambda: call(program.pointer, pid, c_path, pattern, options))

    def _offsets(self, program: Program, path: str, names: tuple[str, ...]) -> list[int]:
        found = function_offsets(path, names)
        for name in names:
            if name not in found:
                raise no_such_symbol(program, self, path, name)
        # Two names of one function are one place.
        return sorted(set(found.values()))

    def __str__(self) -> str:
        names = self.functions if isinstance(self.functions, str) else ",".join(self.functions)
        kind = "uretprobe.multi" if self.retprobe else "uprobe.multi"
        return join_options(f"{kind}:{self.path}:{names}", pid=self.pid, cookie=self.cookie)

    @classmethod
    def parse(cls, text: str, *, kind: str = "uprobe.multi") -> Self:
        place, options = split_options(text, kind, "pid", "cookie")
        path, _, names = place.rpartition(":")
        if not path or not names:
            raise needs(kind, "a file and a pattern or names", cls.kinds[kind])
        return cls(
            path,
            pattern_or_names(names),
            pid=optional_integer(options, "pid"),
            retprobe=kind.startswith("uret"),
            cookie=optional_integer(options, "cookie") or 0,
        )
