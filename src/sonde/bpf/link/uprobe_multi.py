"""Many functions of one file at once, by one link and one registration."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sonde._libbpf import ffi, lib
from sonde.bpf.link.attachment import LibbpfLink, attach_by_libbpf, require_feature
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
from sonde.bpf.link.uprobe import pid_argument, user_space_error
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
        try:
            return Link(program, self, self._attach(program))
        except KernelError as error:
            require_feature("uprobe_multi", program, self)
            symbol = self.functions if isinstance(self.functions, str) else ",".join(self.functions)
            raise user_space_error(program, self, error, self.path, symbol) from None

    def configure(self, spec: ProgramSpec) -> None:
        if spec.expected_attach_type != "trace_uprobe_multi":
            raise wrong_section(spec, "uprobe.multi")

    def _attach(self, program: Program) -> LibbpfLink:
        options = _options()
        options.retprobe = self.retprobe
        pattern, texts = ffi.NULL, []
        if isinstance(self.functions, str):
            pattern = ffi.new("char[]", self.functions.encode())
        else:
            texts = [ffi.new("char[]", name.encode()) for name in self.functions]
            options.cnt = len(texts)
        names = ffi.new("const char *[]", texts)
        cookies = ffi.new("unsigned long long[]", [self.cookie] * len(texts))
        if texts:
            options.syms = names
        if self.cookie:
            options.cookies = cookies
        link = attach_by_libbpf(program, self, lambda: _call(program, self.pid, self.path, pattern, options))
        # What the options point to had to live until here.
        del names, cookies, texts
        return link

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


def _options() -> Any:
    options = ffi.new("struct bpf_uprobe_multi_opts *")
    options.sz = ffi.sizeof("struct bpf_uprobe_multi_opts")
    return options


def _call(program: Program, pid: int | None, path: str, pattern: Any, options: Any) -> Any:
    call = lib.bpf_program__attach_uprobe_multi
    return call(program.pointer, pid_argument(pid), path.encode(), pattern, options)
