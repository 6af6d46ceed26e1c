"""Who living processes are, from /proc: for those whose beginning nobody has recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

TASK_IS_KERNEL = 0x00200000  # PF_KTHREAD, include/linux/sched.h


class Told(Protocol):
    """What is told of a living process; names are bytes, for a file's name may be any.

    ``start_ticks`` is its start in clock ticks since boot, ``user`` its effective user, ``executable`` empty where it
    has none or we may not see it, ``cgroup`` its path in version 2's hierarchy.
    """

    @property
    def pid(self) -> int: ...
    @property
    def start_ticks(self) -> int: ...
    @property
    def parent(self) -> int: ...
    @property
    def user(self) -> int: ...
    @property
    def comm(self) -> bytes: ...
    @property
    def executable(self) -> bytes: ...
    @property
    def cgroup(self) -> bytes: ...


Ask = Callable[[Sequence[int]], Mapping[int, Told] | None]
"""Tells of those processes, among many, that are there; None where it cannot be told just now."""


class ProcessFile(NamedTuple):
    """A process as its files in /proc tell of it."""

    pid: int
    start_ticks: int
    parent: int
    user: int
    comm: bytes
    executable: bytes
    cgroup: bytes


def living_pids() -> list[int]:
    """List the processes that there are."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def ask_files(pids: Sequence[int]) -> Mapping[int, Told]:
    """Read who processes are; what others may see of them needs CAP_SYS_PTRACE for the executable."""
    found = ((pid, process_file(pid)) for pid in pids)
    return {pid: told for pid, told in found if told is not None}


def process_file(pid: int) -> ProcessFile | None:
    """Read who a process is; None when there is none, or another got its number meanwhile."""
    before = _stat(pid)
    if before is None:
        return None
    comm, words = before
    executable, cgroup, user = _executable(pid), cgroup_path(pid), _user(pid)
    after = _stat(pid)
    if user is None or after is None or after[1][19] != words[19]:
        return None
    return ProcessFile(pid, int(words[19]), int(words[1]), user, comm, executable, os.fsencode(cgroup))


def parent_of(pid: int) -> int | None:
    """Give the process that another one's parent is now; None when there is none."""
    found = _stat(pid)
    return int(found[1][1]) or None if found is not None else None


def is_kernel_thread(pid: int) -> bool:
    """Tell whether a task is the kernel's own."""
    found = _stat(pid)
    return found is not None and bool(int(found[1][6]) & TASK_IS_KERNEL)


def namespace_pid(pid: int) -> int | None:
    """Give the number that a process has in its own pid namespace; None when there is none."""
    found = _status(pid, b"NSpid:")
    return int(found[-1]) if found else None


def cgroup_path(pid: int) -> str:
    """Give the cgroup that says whose a process is: version 2's, and else the memory controller's (cgroup.bpf.h)."""
    version_2 = memory = ""
    for line in os.fsdecode(_read(pid, "cgroup") or b"").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            version_2 = path
        elif "memory" in controllers.split(","):
            memory = path
    return memory if memory and version_2 in ("", "/") else version_2


def _read(pid: int, name: str) -> bytes | None:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return None


def _stat(pid: int) -> tuple[bytes, list[bytes]] | None:
    text = _read(pid, "stat")
    if not text:
        return None
    # A name may hold brackets and blanks: from the first to the last.
    head, _, tail = text.rpartition(b")")
    return head.partition(b"(")[2], tail.split()


def _user(pid: int) -> int | None:
    found = _status(pid, b"Uid:")
    return int(found[1]) if found else None


def _status(pid: int, key: bytes) -> list[bytes]:
    """Give the words behind a key of /proc/PID/status; none where there is no such process, or no such key."""
    for line in (_read(pid, "status") or b"").splitlines():
        if line.startswith(key):
            return line.split()[1:]
    return []


def _executable(pid: int) -> bytes:
    try:
        return os.readlink(f"/proc/{pid}/exe".encode())
    except OSError:
        return b""
