"""Many kernel functions at once, by one link and one registration."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from fnmatch import translate
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
from sonde.bpf.link.kernel_function import beginnings, first_untraceable, no_such_function, traceable
from sonde.bpf.link.link import Link
from sonde.errors import AttachError, KernelError

if TYPE_CHECKING:
    from sonde.bpf.program import Program, ProgramSpec


@dataclass(frozen=True, slots=True)
class KprobeMulti(Hook):
    """Attach to each function that a pattern (``tcp_*``) matches, or to each of a tuple of names. Linux 5.18.

    Only functions that ftrace can trace. ``cookie`` is the same at each. Raises NotSupportedError without fprobe.
    """

    kinds: ClassVar = {
        "kprobe.multi": "kprobe.multi:tcp_*",
        "kretprobe.multi": "kretprobe.multi:tcp_sendmsg,tcp_recvmsg",
    }

    functions: str | tuple[str, ...]
    _: KW_ONLY
    retprobe: bool = False
    cookie: int = 0

    def attach(self, program: Program) -> Link:
        require_type(program, self, "kprobe")
        try:
            return Link(program, self, self._attach(program, *self._places(program)))
        except KernelError as error:
            require_feature("kprobe_multi", program, self)
            if error.errno not in (errno.ESRCH, errno.ENOENT) or isinstance(self.functions, str):
                raise
            missing = first_untraceable(self.functions)
            if not missing:
                raise
            raise no_such_function(program, self, missing) from None

    def configure(self, spec: ProgramSpec) -> None:
        if spec.expected_attach_type != "trace_kprobe_multi":
            raise wrong_section(spec, "kprobe.multi")

    def _attach(self, program: Program, names: list[bytes], addresses: list[int]) -> LibbpfLink:
        options = _options()
        options.cnt, options.retprobe = len(addresses or names), self.retprobe
        texts = [ffi.new("char[]", name) for name in names]
        if addresses:
            options.addrs = keep = ffi.new("unsigned long[]", addresses)
        else:
            options.syms = keep = ffi.new("const char *[]", texts)
        cookies = ffi.new("unsigned long long[]", [self.cookie] * options.cnt)
        if self.cookie:
            options.cookies = cookies
        link = attach_by_libbpf(program, self, lambda: _call(program, options))
        # What the options point to had to live until here.
        del keep, texts, cookies
        return link

    def _places(self, program: Program) -> tuple[list[bytes], list[int]]:
        """Names, or what the pattern matches: addresses where the kernel lists them, which tells namesakes apart."""
        if isinstance(self.functions, tuple):
            return [name.encode() for name in self.functions], []
        matches = _matcher(self.functions)
        found = [each for each in traceable() if matches(each[0])]
        if not found:
            raise AttachError(
                f"attach program {program.name} to {self}",
                why="no traceable function of this kernel matches",
                hint="look in available_filter_functions in tracefs",
                program=program.name,
                hook=str(self),
            )
        if found[0][1]:
            places = {address for _, address, _ in found}
            return [], sorted(beginnings(places) if self.cookie else places)
        # Before Linux 6.3 names of modules are not looked up, and one that is not found fails them all.
        return sorted({name.encode() for name, _, module in found if not module}), []

    def __str__(self) -> str:
        names = self.functions if isinstance(self.functions, str) else ",".join(self.functions)
        return join_options(f"{'kretprobe' if self.retprobe else 'kprobe'}.multi:{names}", cookie=self.cookie)

    @classmethod
    def parse(cls, text: str, *, kind: str = "kprobe.multi") -> Self:
        names, options = split_options(text, kind, "cookie")
        if not names:
            raise needs(kind, "a pattern or names", cls.kinds[kind])
        return cls(
            pattern_or_names(names),
            retprobe=kind.startswith("kret"),
            cookie=optional_integer(options, "cookie") or 0,
        )


def pattern_or_names(text: str) -> str | tuple[str, ...]:
    """Read ``tcp_*`` as a pattern, ``a,b`` and ``a`` as names."""
    if "," in text or not any(sign in text for sign in "*?["):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _matcher(pattern: str) -> Callable[[str], Any]:
    import re

    return re.compile(translate(pattern)).match


def _options() -> Any:
    options = ffi.new("struct bpf_kprobe_multi_opts *")
    options.sz = ffi.sizeof("struct bpf_kprobe_multi_opts")
    return options


def _call(program: Program, options: Any) -> Any:
    return lib.bpf_program__attach_kprobe_multi_opts(program.pointer, ffi.NULL, options)
