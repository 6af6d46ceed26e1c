"""The hook that a program's own section names."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from sonde._libbpf import lib
from sonde.bpf.link.attachment import attach_by_libbpf
from sonde.bpf.link.hook import Hook
from sonde.bpf.link.link import Link
from sonde.errors import AttachError, KernelError

if TYPE_CHECKING:
    from sonde.bpf.program import Program

PLACELESS = {
    "xdp": ("a network interface", 'Xdp("eth0")'),
    "sched_cls": ("a network interface and a direction", 'Tc("eth0", "ingress")'),
    "perf_event": ("an event and how often", 'PerfEvent("cpu-clock", frequency=99)'),
    "sock_ops": ("a directory of cgroup version 2", 'Cgroup("/sys/fs/cgroup")'),
    "cgroup": ("a directory of cgroup version 2", 'Cgroup("/sys/fs/cgroup")'),
}
"""Program type whose section never says where → what it lacks, and a hook that has it."""

MISSING = {
    "uprobe": ("a file and a function", 'Uprobe("/bin/bash", "readline")'),
    "uretprobe": ("a file and a function", 'Uprobe("/bin/bash", "readline", retprobe=True)'),
    "uprobe.multi": ("a file and a pattern", 'UprobeMulti("libc.so.6", "mem*")'),
    "uretprobe.multi": ("a file and a pattern", 'UprobeMulti("libc.so.6", "mem*", retprobe=True)'),
    "usdt": ("a file, a provider and a name", 'Usdt("libc.so.6", "libc", "setjmp")'),
    "kprobe": ("a kernel function", 'Kprobe("do_sys_openat2")'),
    "kretprobe": ("a kernel function", 'Kprobe("do_sys_openat2", retprobe=True)'),
    "kprobe.multi": ("a pattern or names", 'KprobeMulti("tcp_*")'),
    "kretprobe.multi": ("a pattern or names", 'KprobeMulti("tcp_*", retprobe=True)'),
    "tracepoint": ("a tracepoint", 'Tracepoint("syscalls/sys_enter_openat")'),
    "tp": ("a tracepoint", 'Tracepoint("syscalls/sys_enter_openat")'),
    "raw_tracepoint": ("a tracepoint", 'RawTracepoint("sys_enter")'),
    "raw_tp": ("a tracepoint", 'RawTracepoint("sys_enter")'),
}
"""Kind of section, where it stands alone → what it lacks, and a hook that has it."""


@dataclass(frozen=True, slots=True)
class Section(Hook):
    """Attach as SEC() says: ``SEC("tracepoint/syscalls/sys_enter_openat")`` is enough.

    The link's hook is the one that the section names. Sections that need more than they say (``xdp`` an interface,
    ``cgroup/…`` a path) raise AttachError, which says what.
    """

    kinds: ClassVar = {"section": "section"}

    def attach(self, program: Program) -> Link:
        kind, _, _ = program.section.partition("/")
        # What the section says, unless another target was set before load.
        place = program.attach_target or ""
        kind = kind.removesuffix(".s")
        lacking = PLACELESS.get("cgroup" if program.type.startswith("cgroup_") else program.type)
        if lacking is None and not place:
            lacking = MISSING.get(kind)
        if lacking:
            raise self._says_too_little(program, *lacking)
        hook = self._hook(program, kind, place)
        return hook.attach(program) if hook else self._attach_by_libbpf(program, kind)

    def _hook(self, program: Program, kind: str, place: str) -> Hook | None:
        """The hook of a section that has one; the kinds that are attached most come without the catalogue's imports."""
        from sonde.bpf.link.raw_tracepoint import RawTracepoint
        from sonde.bpf.link.tp_btf import TpBtf
        from sonde.bpf.link.tracepoint import Tracepoint

        if kind == "tp_btf":
            return TpBtf(place)
        if kind in ("raw_tp", "raw_tracepoint", "raw_tp.w", "raw_tracepoint.w"):
            return RawTracepoint(place)
        if kind in ("tp", "tracepoint"):
            return Tracepoint(place)
        from sonde.bpf.link.catalogue import hook_kinds

        if kind == "iter":
            from sonde.bpf.link.iterator import Iterator

            return Iterator()
        hook = hook_kinds().get(kind)
        if hook is None:
            return None
        try:
            return hook.parse(place, kind=kind)
        except AttachError as error:
            # libbpf's tools have SEC("uprobe/function"): the file is known to their loaders alone.
            raise AttachError(
                f"attach program {program.name} as its section says",
                why=f'SEC("{program.section}"): {error.why}',
                hint=error.hint,
                program=program.name,
                hook=str(self),
            ) from None

    def _attach_by_libbpf(self, program: Program, kind: str) -> Link:
        if kind in ("ksyscall", "kretsyscall"):
            from sonde.bpf.link.perf_source import require_source

            require_source("kprobe", program, self)
        try:
            return Link(
                program,
                self,
                attach_by_libbpf(program, self, lambda: lib.bpf_program__attach(program.pointer)),
            )
        except KernelError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            raise AttachError(
                f"attach program {program.name} as its section says",
                why=f"SEC({program.section!r}) names no place that libbpf or sonde could attach to",
                program=program.name,
                hook=str(self),
            ) from None

    def _says_too_little(self, program: Program, what: str, example: str) -> AttachError:
        return AttachError(
            f"attach program {program.name} as its section says",
            why=f"SEC({program.section!r}) does not say where: it needs {what}".replace("'", '"'),
            hint=f"for example attach({example})",
            program=program.name,
            hook=str(self),
        )

    def __str__(self) -> str:
        return "its section"

    @classmethod
    def parse(cls, text: str, *, kind: str = "section") -> Self:
        if text:
            raise AttachError(f"read hook {kind}", why=f"it takes nothing more, not {text!r}")
        return cls()
