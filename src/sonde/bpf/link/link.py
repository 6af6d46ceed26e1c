"""What every hook gives: a program attached to it."""

from __future__ import annotations

import errno
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import check, error_for
from sonde.errors import NotSupportedError, SondeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sonde.bpf.link.attachment import Attachment
    from sonde.bpf.link.hook import Hook
    from sonde.bpf.program import Program

UPDATABLE = {
    3: "cgroup",
    4: "iter",
    5: "netns",
    6: "xdp",
    9: "struct_ops",
    11: "tcx",
    13: "netkit",
    14: "sockmap",
}
"""enum bpf_link_type → name, of those whose program can be replaced (``update_prog`` in their kernel operations)."""


class Link:
    """An attached program; ``close`` detaches it, and so do the object's close and garbage collection.

    A killed process leaves nothing attached. In a fork it is nobody's: its parent alone detaches.
    """

    __slots__ = ("__weakref__", "_attachment", "_lock", "_owner_pid", "hook", "program")

    def __init__(self, program: Program, hook: Hook, attachment: Attachment) -> None:
        """Take over an attachment; hooks make links."""
        self.program = program
        self.hook = hook
        self._attachment: Attachment | None = attachment
        self._lock = threading.RLock()
        self._owner_pid = os.getpid()

    @property
    def closed(self) -> bool:
        """Tell whether the program was detached."""
        return self._attachment is None

    def _held(self) -> Attachment:
        attachment = self._attachment
        if attachment is None:
            raise SondeError(f"use link {self.program.name} at {self.hook}", why="it is closed")
        return attachment

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Descriptors of the kernel's links or perf events: one for most hooks, one per CPU for a perf event."""
        return self._held().descriptors

    @property
    def fd(self) -> int:
        """The descriptor of the link; raises SondeError where there is none, or more than one."""
        descriptors = self.descriptors
        if len(descriptors) != 1:
            raise SondeError(
                f"give the descriptor of link {self.program.name} at {self.hook}",
                why=f"it has {len(descriptors) or 'none'}",
                hint="use descriptors",
            )
        return descriptors[0]

    @property
    def ids(self) -> tuple[int, ...]:
        """Numbers that the kernel gave the links; none for perf events before Linux 5.15 and for clsact."""
        infos = (_information(fd) for fd in self.descriptors)
        return tuple(int(info.id) for info in infos if info is not None)

    @property
    def id(self) -> int | None:
        """The number of the link; None where there is none, or more than one."""
        ids = self.ids
        return ids[0] if len(ids) == 1 else None

    @property
    def interface_index(self) -> int | None:
        """The network interface that an XDP or TCX link is on, 0 once that has gone; None for all others."""
        descriptors = self.descriptors
        info = _information(descriptors[0]) if len(descriptors) == 1 else None
        # The interface is the first of both kinds' members.
        return (
            int(info.xdp.ifindex) if info is not None and UPDATABLE.get(info.type) in ("xdp", "tcx") else None
        )

    @property
    def can_update(self) -> bool:
        """Whether ``update`` works here: XDP, TCX, cgroup and iterator links."""
        descriptors = self.descriptors
        info = _information(descriptors[0]) if len(descriptors) == 1 else None
        return info is not None and info.type in UPDATABLE

    def update(self, program: Program) -> None:
        """Put another program in the place of this one, in one step (bpf_link_update, Linux 5.7).

        Raises NotSupportedError where the kernel cannot replace the program of this kind of link.
        """
        operation, subject = "replace program", f"{self.program.name} at {self.hook} by {program.name}"
        if not self.can_update:
            raise NotSupportedError(
                "replacing the program of this link",
                operation=operation,
                subject=subject,
                hint="attach the other program, then close this link",
            )
        check(lib.bpf_link_update(self.fd, program.fd, ffi.NULL), operation, subject)
        self.program = program

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Pin the link into a BPF file system: the program stays attached when the link is closed.

        Raises NotSupportedError where what holds the program is no link of the kernel's.
        """
        target, subject = os.fspath(path), f"{self.hook} to {os.fspath(path)}"
        descriptors = self.descriptors
        if len(descriptors) != 1 or _information(descriptors[0]) is None:
            raise NotSupportedError(
                "pinning this link",
                operation="pin link",
                subject=subject,
                provides="one link of the kernel's: for perf events, kprobes and uprobes Linux 5.15",
            )
        hint = "the path has to be new and in a BPF file system (mount -t bpf bpf /sys/fs/bpf)"
        check(lib.bpf_obj_pin(descriptors[0], target.encode()), "pin link", subject, hint=hint)

    def unpin(self, path: str | os.PathLike[str]) -> None:
        """Remove a pin; raises KernelError where there is none."""
        try:
            os.unlink(path)
        except OSError as error:
            number = error.errno or errno.EIO
            raise error_for(number, "unpin link", f"{self.hook} from {os.fspath(path)}") from None

    def close(self) -> None:
        """Detach; again, and from several threads, is fine."""
        with self._lock:
            attachment, self._attachment = self._attachment, None
        if attachment is None:
            return
        self.program.handle.release(self)
        # A fork has the same descriptors: to disable the perf event below one would stop it for the parent too.
        if os.getpid() == self._owner_pid:
            attachment.detach()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # At the interpreter's end modules are half gone, and the kernel detaches by itself.  The attribute is
        # absent where __init__ did not come so far.
        if not is_finalizing() and getattr(self, "_attachment", None) is not None:
            self.close()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.program.name} at {self.hook}{' (closed)' if self.closed else ''}>"
        )


def _information(fd: int) -> Any:
    """Read the kernel's information about a link; None where the descriptor is no link's."""
    info = ffi.new("struct bpf_link_info *")
    size = ffi.new("__u32 *", ffi.sizeof("struct bpf_link_info"))
    return None if lib.bpf_link_get_info_by_fd(fd, info, size) < 0 else info
