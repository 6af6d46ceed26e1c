"""Tracepoints: the kernel's stable, named places."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import check
from sonde.bpf.link.hook import Hook, join_options, needs, optional_integer, require_type, split_options
from sonde.bpf.link.link import Link
from sonde.bpf.link.perf_source import attach_to_event
from sonde.bpf.link.tracefs import tracefs
from sonde.errors import AttachError
from sonde.nearest import nearest

if TYPE_CHECKING:
    from sonde.bpf.program import Program

PERF_TYPE_TRACEPOINT = 2


@dataclass(frozen=True, slots=True)
class Tracepoint(Hook):
    """Attach to ``syscalls/sys_enter_openat``; ``sys_enter_openat`` alone is looked up in every group.

    A program of type tracepoint; the perf event below it belongs to the link. Linux 4.7; ``cookie`` 5.15.
    """

    kinds: ClassVar = {
        "tracepoint": "tracepoint:syscalls/sys_enter_openat",
        "tp": "tp:syscalls/sys_enter_openat",
    }

    name: str
    _: KW_ONLY
    cookie: int = 0

    def attach(self, program: Program) -> Link:
        require_type(program, self, "tracepoint")
        event = ffi.new("struct sonde_perf_event *")
        event.type, event.config = PERF_TYPE_TRACEPOINT, self.event_id()
        # One event on one CPU is enough: the kernel runs the programs of a tracepoint wherever it fires.
        event.pid, event.cpu, event.period = -1, 0, 1
        result = lib.sonde_perf_event_open(event)
        fd = check(result, "open tracepoint", self.name, capability="CAP_PERFMON")
        return Link(program, self, attach_to_event(program, self, fd, cookie=self.cookie))

    def event_id(self) -> int:
        """Number of the tracepoint; raises AttachError with the nearest names when there is none."""
        group, _, name = self.name.rpartition("/")
        for candidate in [group] if group else self._groups(name):
            try:
                with open(f"{tracefs()}/events/{candidate}/{name}/id") as file:
                    return int(file.read())
            except (FileNotFoundError, NotADirectoryError):
                continue
        near = nearest(self.name, self._known(group))
        raise AttachError(
            f"attach to tracepoint {self.name}",
            why="this kernel has no such tracepoint",
            hint=f"the nearest are {', '.join(near)}" if near else "",
            hook=str(self),
        )

    def _groups(self, name: str) -> list[str]:
        root = f"{tracefs()}/events"
        return [group for group in sorted(os.listdir(root)) if os.path.exists(f"{root}/{group}/{name}/id")]

    @staticmethod
    def _known(group: str) -> list[str]:
        root = f"{tracefs()}/events"
        if group and os.path.isdir(f"{root}/{group}"):
            return [f"{group}/{name}" for name in os.listdir(f"{root}/{group}")]
        groups = [g for g in os.listdir(root) if os.path.isdir(f"{root}/{g}")]
        return [name if not group else f"{g}/{name}" for g in groups for name in os.listdir(f"{root}/{g}")]

    def __str__(self) -> str:
        return join_options(f"tracepoint:{self.name}", cookie=self.cookie)

    @classmethod
    def parse(cls, text: str, *, kind: str = "tracepoint") -> Self:
        name, options = split_options(text, kind, "cookie")
        if not name:
            raise needs(kind, "the name of a tracepoint", cls.kinds["tracepoint"])
        return cls(name.replace(":", "/"), cookie=optional_integer(options, "cookie") or 0)
