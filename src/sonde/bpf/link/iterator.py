"""Iterators: a program that runs once for each task, map, socket, …, and writes what is read like a file."""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import check
from sonde.bpf.link.attachment import attach_by_libbpf
from sonde.bpf.link.hook import Hook, join_options, optional_integer, require_type, split_options
from sonde.bpf.link.link import Link
from sonde.errors import AttachError, KernelError, NotSupportedError

if TYPE_CHECKING:
    from sonde.bpf.map import Map
    from sonde.bpf.program import Program

Order = Literal["self", "descendants", "descendants_post", "ancestors"]
ORDERS: tuple[Order, ...] = get_args(Order)  # enum bpf_cgroup_iter_order, from 1 on
READ_BYTES = 1 << 20


class IteratorLink(Link):
    """An attached iterator: each ``read`` is a walk of its own."""

    __slots__ = ()

    def read(self) -> bytes:
        """Walk once; everything that the program wrote. The GIL is released while the kernel walks."""
        descriptor = self.open()
        parts: list[bytes] = []
        try:
            while True:
                try:
                    part = os.read(descriptor, READ_BYTES)
                except BlockingIOError:
                    continue  # the kernel has skipped a million objects in one call and goes on from there
                if not part:
                    return b"".join(parts)
                parts.append(part)
        except OSError as error:
            subject = f"{self.program.name} at {self.hook}"
            raise KernelError(error.errno or errno.EIO, operation="read iterator", subject=subject) from None
        finally:
            os.close(descriptor)

    def open(self) -> int:
        """Begin a walk; the descriptor to read it from, which the caller closes."""
        subject = f"{self.program.name} at {self.hook}"
        return check(lib.bpf_iter_create(self.fd), "open iterator", subject)


@dataclass(frozen=True, slots=True)
class Iterator(Hook):
    """Attach an iterator program; the link's ``read`` runs it. Linux 5.8.

    ``map`` for ``bpf_map_elem`` and ``bpf_sk_storage_map``; ``pid`` (a process) or ``tid`` (a thread) for the task
    iterators and ``cgroup`` with ``order`` for cgroups, Linux 6.1. Without them it walks over all there are.
    """

    kinds: ClassVar = {"iter": "iter:pid=1234"}

    _: KW_ONLY
    map: Map | None = field(default=None, compare=False)
    pid: int | None = None
    tid: int | None = None
    cgroup: str | os.PathLike[str] | None = None
    order: Order = "descendants"

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.map, self.pid, self.tid, self.cgroup)) > 1:
            raise AttachError("make hook iter", why="map, pid, tid and cgroup exclude each other")
        if self.order not in ORDERS:
            raise AttachError(
                "make hook iter", why=f"there is no order {self.order}", hint=f"valid: {', '.join(ORDERS)}"
            )

    def attach(self, program: Program) -> IteratorLink:
        require_type(program, self, "tracing")
        task = self.pid or self.tid
        # The kernel would walk over nothing, and not say so.
        if task is not None and not os.path.exists(f"/proc/{task}"):
            what = f"attach program {program.name} to {self}"
            raise AttachError(what, why="there is no such process", program=program.name, hook=str(self))
        directory = -1 if self.cgroup is None else self._open_cgroup(program)
        try:
            return self._attach(program, self._parameters(directory))
        finally:
            if directory >= 0:
                os.close(directory)

    def _attach(self, program: Program, parameters: bytes) -> IteratorLink:
        options = ffi.new("struct bpf_iter_attach_opts *")
        options.sz = ffi.sizeof("struct bpf_iter_attach_opts")
        keep: Any = ffi.from_buffer(parameters)
        if parameters:
            options.link_info, options.link_info_len = (
                ffi.cast("union bpf_iter_link_info *", keep),
                len(parameters),
            )
        try:
            held = attach_by_libbpf(
                program, self, lambda: lib.bpf_program__attach_iter(program.pointer, options)
            )
        except KernelError as error:
            raise self._explain(program, error) from None
        return IteratorLink(program, self, held)

    def _parameters(self, directory: int) -> bytes:
        """A ``union bpf_iter_link_info``."""
        if self.map is not None:
            return struct.pack("=I", self.map.fd)
        if self.cgroup is not None:
            return struct.pack("=IIQ", ORDERS.index(self.order) + 1, directory, 0)
        if self.pid is not None or self.tid is not None:
            return struct.pack("=III", self.tid or 0, self.pid or 0, 0)
        return b""

    def _open_cgroup(self, program: Program) -> int:
        try:
            return os.open(os.fspath(self.cgroup or ""), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            raise AttachError(
                f"attach program {program.name} to {self}", why=why, program=program.name, hook=str(self)
            ) from None

    def _explain(self, program: Program, error: KernelError) -> Exception:
        what, about = f"attach program {program.name} to {self}", {"program": program.name, "hook": str(self)}
        if error.errno == errno.EBADF and self.map is None:
            return AttachError(
                what, why="this iterator walks over a map", hint="give it: Iterator(map=…)", **about
            )
        if error.errno in (errno.EINVAL, errno.E2BIG) and (self.pid or self.tid or self.cgroup):
            return NotSupportedError(
                "parameters of this iterator",
                errno=error.errno,
                operation="attach program",
                subject=f"{program.name} to {self}",
                provides="Linux 6.1, and an iterator over tasks (pid, tid) or cgroups (cgroup)",
            )
        return error

    def __str__(self) -> str:
        order = self.order if self.cgroup is not None and self.order != "descendants" else ""
        cgroup = os.fspath(self.cgroup) if self.cgroup is not None else ""
        shown = join_options("", pid=self.pid, tid=self.tid, cgroup=cgroup, order=order).removeprefix(",")
        over = f"map={self.map.name}" if self.map is not None else shown
        return f"iter:{over}" if over else "iter"

    @classmethod
    def parse(cls, text: str, *, kind: str = "iter") -> Self:
        rest, options = split_options(f",{text}" if text else "", kind, "pid", "tid", "cgroup", "order")
        if rest:
            raise AttachError(f"read hook {kind}", why=f"it takes pid=, tid= or cgroup=, not {rest!r}")
        return cls(
            pid=optional_integer(options, "pid"),
            tid=optional_integer(options, "tid"),
            cgroup=options.get("cgroup"),
            order=options.get("order", "descendants"),  # type: ignore[arg-type]
        )
