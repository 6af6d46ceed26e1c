"""Places that a test makes for itself and takes away again: networks, mounts, cgroups."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNET = 0x40000000
MNT_DETACH = 2
ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY = 8, 0
ADDRESSES = ("10.99.0.1", "10.99.0.2")
HARDWARE = ("02:00:00:00:00:01", "02:00:00:00:00:02")

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


@dataclass(frozen=True)
class Network:
    """The calling thread's namespace holds ``interface``; a peer beyond it answers at ``peer``."""

    interface: str
    index: int
    address: str
    peer: str

    def ping(self, count: int, *, timeout_s: float = 10) -> int:
        """Send echo requests one after the other; the number of replies, each of which has arrived here."""
        replies = 0
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as wire:
            wire.settimeout(timeout_s)
            for sequence in range(count):
                wire.sendto(_echo_request(os.getpid() & 0xFFFF, sequence), (self.peer, 0))
                replies += _await_reply(wire, sequence)
        return replies


def _echo_request(identity: int, sequence: int) -> bytes:
    packet = struct.pack("!BBHHH", ICMP_ECHO_REQUEST, 0, 0, identity, sequence) + bytes(8)
    total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return packet[:2] + struct.pack("!H", checksum) + packet[4:]


def _await_reply(wire: socket.socket, sequence: int) -> bool:
    while True:
        packet = wire.recv(2048)
        kind, number = packet[20], struct.unpack_from("!H", packet, 26)[0]
        if kind == ICMP_ECHO_REPLY and number == sequence:
            return True


def _ip(*lines: str) -> None:
    """Several commands of iproute2 in one process: starting one takes half a second under emulation."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), check=True, capture_output=True, text=True)


@contextmanager
def network() -> Iterator[Network]:
    """Two namespaces joined by a veth pair; the calling thread is in the first until the end, then both are gone.

    No IPv6 and no address resolution: nothing but the test's own packets passes.
    """
    here, outside = "/proc/thread-self/ns/net", os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    peer = -1
    try:
        _call("unshare", CLONE_NEWNET)
        peer = os.open(here, os.O_RDONLY)
        _disable_ipv6()
        _call("unshare", CLONE_NEWNET)
        _disable_ipv6()
        there = f"/proc/{os.getpid()}/fd/{peer}"
        add = f"link add sonde0 address {HARDWARE[0]} type veth peer name sonde1 address {HARDWARE[1]} netns {there}"
        _ip(add, *_set_up("sonde0", ADDRESSES[0], ADDRESSES[1], HARDWARE[1]))
        own = os.open(here, os.O_RDONLY)
        _call("setns", peer, CLONE_NEWNET)
        _ip(*_set_up("sonde1", ADDRESSES[1], ADDRESSES[0], HARDWARE[0]))
        _call("setns", own, CLONE_NEWNET)
        os.close(own)
        made = Network("sonde0", socket.if_nametoindex("sonde0"), *ADDRESSES)
        _await_carrier(made)
        yield made
    finally:
        _call("setns", outside, CLONE_NEWNET)
        os.close(outside)
        if peer >= 0:
            os.close(peer)


def _await_carrier(made: Network) -> None:
    """Until the first reply: an interface drops what is sent before its carrier has been noticed."""
    for _ in range(50):
        with suppress(TimeoutError):
            made.ping(1, timeout_s=0.2)
            return
    raise TimeoutError("the veth pair carries nothing")


def _disable_ipv6() -> None:
    with suppress(FileNotFoundError):  # a kernel without IPv6
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")


def _set_up(interface: str, address: str, neighbour: str, hardware: str) -> tuple[str, ...]:
    return (
        f"address add {address}/24 dev {interface}",
        f"link set {interface} up",
        f"neighbour add {neighbour} lladdr {hardware} dev {interface}",
    )


@contextmanager
def mounted(filesystem: str, path: Path) -> Iterator[Path]:
    """Mount a file system on a folder that is made for it; unmounted at the end."""
    path.mkdir(parents=True)
    _call("mount", filesystem.encode(), os.fsencode(path), filesystem.encode(), 0, None)
    try:
        yield path
    finally:
        _call("umount2", os.fsencode(path), MNT_DETACH)
        path.rmdir()


@contextmanager
def small_disk(path: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of so many bytes, in a folder that is made for it."""
    path.mkdir(parents=True)
    _call("mount", b"tmpfs", os.fsencode(path), b"tmpfs", 0, f"size={size_bytes}".encode())
    try:
        yield path
    finally:
        _call("umount2", os.fsencode(path), MNT_DETACH)
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
    path = root / f"sonde-test-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    """Remove a cgroup; a member that was just killed leaves it a moment later."""
    for _ in range(100):
        with suppress(OSError):
            path.rmdir()
            return
        time.sleep(0.05)
    path.rmdir()
