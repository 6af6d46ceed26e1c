"""Opening the files that processes have mapped, wherever they lie: in other mount namespaces, of processes that have ended."""

from __future__ import annotations

import os
import resource
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from sonde._libbpf import lib
from sonde.bpf.side_band import MappedPath
from sonde.enrich.process_files import living_pids

HELD_MAX, HELD_SHARE = 256, 4
"""So many files are held open for processes that may end before anybody asks for their names: of the descriptors that this
process may have, one in HELD_SHARE at most."""
NAMESPACES_MAX = 64
NAMESPACES_EVERY_S = 5.0
"""Processes of other mount namespaces are looked for so often at most."""
INODE_MASK = (1 << 48) - 1
"""An overlay may mark the upper bits of an inode with the layer."""
OTHER_DEVICES = (0x794C7630, 0x9123683E)
"""overlayfs and btrfs: the device that perf and /proc tell is, by kernel version, the layer's; or of the whole, where stat
gives each subvolume its own."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Which file it is, and which version of it."""

    device: int
    inode: int
    modified_ns: int
    size_bytes: int
    owner: int


def open_regular(path: str, *, flags: int = 0) -> int:
    """Open a regular file for reading; raises OSError. Neither a device nor a pipe is opened for more than a look."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | flags)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(path)
    return fd


def identity_of(fd: int) -> FileIdentity:
    """Tell which file is open."""
    found = os.fstat(fd)
    return FileIdentity(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, found.st_uid)


class MappedFiles:
    """Opens mapped files by device and inode, so that never another one of the same name is taken.

    ``hold`` opens one as soon as it is mapped, and keeps it until ``release``, at most ``held_max``: a process may end, and
    its mount namespace with it. May be used from several threads; ``close`` gives back what is held.
    """

    def __init__(self) -> None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.held_max = HELD_MAX if limit < 0 else min(HELD_MAX, limit // HELD_SHARE)
        # With the time from which on each is held, in which order they stand.
        self._held: OrderedDict[MappedPath, tuple[int, int]] = OrderedDict()
        self._namespaces: dict[int, int] = {}
        self._namespaces_at = float("-inf")
        self._lock = threading.Lock()

    def hold(self, pid: int, file: MappedPath) -> None:
        """Open a file that a process has just mapped, if it can be opened."""
        fd = self._open(file, (pid,), everywhere=False)
        if fd is None:
            return
        with self._lock:
            before = self._held.pop(file, None)
            self._held[file] = (fd, time.monotonic_ns())
            surplus = [before] if before is not None else []
            while len(self._held) > self.held_max:
                surplus.append(self._held.popitem(last=False)[1])
        for each, _ in surplus:
            os.close(each)

    def open(
        self, file: MappedPath, *, pids: tuple[int, ...] = (), start: int = 0, end: int = 0
    ) -> int | None:
        """Open a mapped file, for the caller to close; None where it cannot be found.

        ``pids`` are the process that has mapped it, from ``start`` to ``end``, and those that it comes from.
        """
        with self._lock:
            held = self._held.get(file)
            if held is not None:
                return os.dup(held[0])
        if pids and end and (fd := _opened(f"/proc/{pids[0]}/map_files/{start:x}-{end:x}", file)) is not None:
            return fd
        return self._open(file, pids, everywhere=True)

    def _open(self, file: MappedPath, pids: tuple[int, ...], *, everywhere: bool) -> int | None:
        if not file.path.startswith("/"):
            return None
        for path in self._paths(file.path, pids, everywhere=everywhere):
            fd = _opened(path, file)
            if fd is not None:
                return fd
        return None

    def _paths(self, path: str, pids: tuple[int, ...], *, everywhere: bool) -> Iterator[str]:
        yield path
        for pid in pids:
            yield f"/proc/{pid}/root{path}"
            # What has no name any more, or never had one.
            yield f"/proc/{pid}/exe"
        if everywhere:
            for pid in self._others():
                yield f"/proc/{pid}/root{path}"

    def _others(self) -> list[int]:
        """Give a living process of each other mount namespace."""
        now = time.monotonic()
        with self._lock:
            if now - self._namespaces_at < NAMESPACES_EVERY_S:
                return list(self._namespaces.values())
            self._namespaces_at = now
        own = _mount_namespace(os.getpid())
        found: dict[int, int] = {}
        for pid in living_pids():
            namespace = _mount_namespace(pid)
            if namespace not in (0, own) and len(found) < NAMESPACES_MAX:
                found.setdefault(namespace, pid)
        self._namespaces = found
        return list(found.values())

    def release(self, before_ns: int) -> None:
        """Close what is held since before a time (time.monotonic_ns): what was mapped until then has its names."""
        released = []
        with self._lock:
            while self._held and next(iter(self._held.values()))[1] < before_ns:
                released.append(self._held.popitem(last=False)[1][0])
        for fd in released:
            os.close(fd)

    def close(self) -> None:
        """Close what is held; again is fine."""
        self.release(time.monotonic_ns() + 1)


def _opened(path: str, file: MappedPath) -> int | None:
    """Open a path if the file there is that one."""
    try:
        fd = open_regular(path)
    except (OSError, ValueError):
        return None
    if _is_that(fd, file):
        return fd
    os.close(fd)
    return None


def _is_that(fd: int, file: MappedPath) -> bool:
    found = os.fstat(fd)
    if found.st_ino & INODE_MASK != file.inode & INODE_MASK:
        return False
    return found.st_dev == file.device or lib.sonde_filesystem_type(fd) in OTHER_DEVICES


def _mount_namespace(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino
    except OSError:
        return 0
