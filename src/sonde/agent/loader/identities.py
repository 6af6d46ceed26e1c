"""Who processes are, from /proc: what the agent may not see by itself."""

from __future__ import annotations

import os

from sonde.agent.loader.protocol import Identity

NAME_BYTES_MAX = 4096


def identity_of(pid: int) -> Identity | None:
    """Read who a process is; None when there is none, or another one has got the number meanwhile.

    The executable needs CAP_SYS_PTRACE, unless the process is this user's own.
    """
    before = _stat(pid)
    if before is None:
        return None
    user, executable, cgroup = _user(pid), _executable(pid), _cgroup(pid)
    after = _stat(pid)
    if user is None or after is None or after[1] != before[1]:
        return None
    parent, start_ticks, comm = before
    return Identity(pid, start_ticks, parent, user, comm, executable, cgroup)


def _read(pid: int, name: str) -> bytes | None:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read(1 << 16)
    except OSError:
        return None


def _stat(pid: int) -> tuple[int, int, bytes] | None:
    text = _read(pid, "stat")
    if text is None:
        return None
    # A name may hold brackets and blanks: from the first to the last.
    head, _, tail = text.rpartition(b")")
    words = tail.split()
    return int(words[1]), int(words[19]), head.partition(b"(")[2]


def _user(pid: int) -> int | None:
    text = _read(pid, "status") or b""
    for line in text.splitlines():
        if line.startswith(b"Uid:"):
            return int(line.split()[1])
    return None


def _executable(pid: int) -> bytes:
    try:
        return os.readlink(f"/proc/{pid}/exe".encode())[:NAME_BYTES_MAX]
    except OSError:
        return b""


def _cgroup(pid: int) -> bytes:
    for line in (_read(pid, "cgroup") or b"").split(b"\n"):
        if line.startswith(b"0::"):
            return line[3:][:NAME_BYTES_MAX]
    return b""
