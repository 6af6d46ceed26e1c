"""Places that a test makes for itself and takes away again: networks, mounts, cgroups."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kernel.network import DEADLINE_S, call, pair, ping

MNT_DETACH = 2


@dataclass(frozen=True)
class Network:
    """The calling thread's namespace holds ``interface``; a peer beyond it answers at ``peer``."""

    interface: str
    index: int
    address: str
    peer: str

    def ping(self, count: int, *, timeout_s: float = DEADLINE_S) -> int:
        """Send echo requests one after the other; the number of replies, each of which has arrived here."""
        return ping(self.peer, count, timeout_s=timeout_s)


@contextmanager
def network() -> Iterator[Network]:
    """Two namespaces joined by a veth pair; the calling thread is in the first until the end, then both are gone.

    Nothing but the test's own packets passes.
    """
    with pair() as made, made.near.entered():
        yield Network(made.near.interface, made.near.index, made.near.address, made.far.address)


@contextmanager
def mounted(filesystem: str, path: Path) -> Iterator[Path]:
    """Mount a file system on a folder that is made for it; unmounted at the end."""
    path.mkdir(parents=True)
    call("mount", filesystem.encode(), os.fsencode(path), filesystem.encode(), 0, None)
    try:
        yield path
    finally:
        call("umount2", os.fsencode(path), MNT_DETACH)
        path.rmdir()


@contextmanager
def small_disk(path: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of so many bytes, in a folder that is made for it."""
    path.mkdir(parents=True)
    call("mount", b"tmpfs", os.fsencode(path), b"tmpfs", 0, f"size={size_bytes}".encode())
    try:
        yield path
    finally:
        call("umount2", os.fsencode(path), MNT_DETACH)
        path.rmdir()


@contextmanager
def worker(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that does something for each line that it is given; killed at the end."""
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def ask(worker: subprocess.Popen[str], line: object) -> str:
    """Have a worker do something, and wait until it says what it did."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{line}\n")
    worker.stdin.flush()
    return worker.stdout.readline().strip()


@contextmanager
def cgroup() -> Iterator[Path]:
    """A new cgroup below the root of version 2, which is mounted for it where the system has not."""
    found = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    roots = [Path(fields[1]) for fields in found if fields[2] == "cgroup2"]
    if roots:
        with _child_of(roots[0]) as path:
            yield path
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        mounted("cgroup2", Path(folder) / "root") as root,
        _child_of(root) as path,
    ):
        yield path


@contextmanager
def _child_of(root: Path) -> Iterator[Path]:
    # Another name than what a run that was killed has left, whose number this process may have.
    path = Path(tempfile.mkdtemp(prefix="sonde-test-", dir=root))
    path.chmod(0o755)
    try:
        yield path
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    """Remove a cgroup; a member that was just killed leaves it a moment later."""
    for _ in range(1200):
        with suppress(OSError):
            path.rmdir()
            return
        time.sleep(0.05)
    path.rmdir()
