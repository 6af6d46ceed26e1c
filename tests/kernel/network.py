"""Two network namespaces joined by a veth pair, where nothing passes but what a test sends.

The namespaces have no name: descriptors hold them, and the kernel takes them away with the pair when the last one
closes, however the process ends.  Tests that run at the same time cannot meet, for each has namespaces of its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from sonde._libbpf import lib

CLONE_NEWNET = 0x40000000
ICMP6 = 58
HERE = "/proc/thread-self/ns/net"
# A receiver's backlog holds 1,000 frames, and the ring of a veth with native XDP 256: a burst has to fit either.
BURST = 64
# Generous: in an emulated machine beside others starting a program takes many seconds.
DEADLINE_S = 240

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """Call a function of the C library that returns 0; raises OSError where it does not."""
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def ping(address: str, count: int, *, timeout_s: float = DEADLINE_S) -> int:
    """Send echo requests from the calling thread's namespace; the number of replies, each of which has arrived."""
    six = ":" in address
    family, protocol = (socket.AF_INET6, ICMP6) if six else (socket.AF_INET, socket.IPPROTO_ICMP)
    replies = 0
    with socket.socket(family, socket.SOCK_RAW, protocol) as wire:
        wire.settimeout(timeout_s)
        for sequence in range(count):
            wire.sendto(_echo_request(128 if six else 8, os.getpid() & 0xFFFF, sequence), (address, 0))
            replies += _await_reply(wire, (0, 129) if six else (20, 0), sequence)
    return replies


def _echo_request(kind: int, identity: int, sequence: int) -> bytes:
    """A request of 16 bytes; the checksum of ICMPv6, over addresses too, is the kernel's work."""
    packet = struct.pack("!BBHHH", kind, 0, 0, identity, sequence) + bytes(8)
    return packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]


def checksum(data: bytes) -> int:
    """The Internet's: RFC 1071."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _await_reply(wire: socket.socket, reply: tuple[int, int], sequence: int) -> bool:
    """Read until the reply to a request comes: ``reply`` is where its type stands in what is read, and the type."""
    at, kind = reply
    while True:
        packet: bytes = wire.recv(2048)
        if packet[at] == kind and struct.unpack_from("!H", packet, at + 6) == (sequence,):
            return True


@dataclass(frozen=True)
class Counters:
    """What ``ip -s link`` says of an interface; the difference of two is what passed between them."""

    rx_packets: int
    rx_bytes: int
    rx_errors: int
    rx_dropped: int
    tx_packets: int
    tx_bytes: int
    tx_errors: int
    tx_dropped: int

    def __sub__(self, before: Counters) -> Counters:
        return Counters(*(getattr(self, f.name) - getattr(before, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Namespace:
    """A network namespace that a descriptor of this process holds."""

    fd: int

    @property
    def path(self) -> str:
        """Where other processes find it, while this one lives: for ``nsenter --net=``, ``ip link … netns``, setns."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @cached_property
    def inode(self) -> int:
        """Its number: what ``lsns`` shows, and ``net.ns.inum`` in the kernel."""
        return os.stat(self.fd).st_ino

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let the calling thread, and what it starts, be in the namespace; a socket made here stays in it."""
        outside = os.open(HERE, os.O_RDONLY)
        try:
            call("setns", self.fd, CLONE_NEWNET)
            yield
        finally:
            call("setns", outside, CLONE_NEWNET)
            os.close(outside)

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command inside; the caller ends it."""
        with self.entered():
            return subprocess.Popen(command, text=True, **options)

    def run(self, *command: str, **options: Any) -> str:
        """Run a command inside to its end, and give what it printed; where it fails, raise what it complained of."""
        options = {"check": True, "capture_output": True, "text": True, "timeout": DEADLINE_S} | options
        try:
            with self.entered():
                return str(subprocess.run(command, **options).stdout)
        except subprocess.CalledProcessError as error:
            error.add_note(str(error.stderr))
            raise

    def python(self, code: str, *arguments: str, **options: Any) -> str:
        """Run Python code in an interpreter of its own inside."""
        return self.run(sys.executable, "-c", code, *arguments, **options)

    def ip(self, *lines: str) -> None:
        """Run commands of iproute2 in one process: starting one takes half a second under emulation."""
        self.run("ip", "-batch", "-", input="\n".join(lines))

    def sysctl(self, name: str, value: int | str) -> None:
        """Set a value below /proc/sys/net, as ``ipv4.conf.all.rp_filter``; raises FileNotFoundError."""
        with self.entered():
            Path("/proc/sys/net", *name.split(".")).write_text(f"{value}")

    def nstat(self) -> dict[str, int]:
        """All counters of the namespace by name (``IpInReceives``, ``UdpNoPorts``), zeros too."""
        with tempfile.TemporaryDirectory() as folder:
            history = os.environ | {"NSTAT_HISTORY": f"{folder}/history"}
            told = self.run("nstat", "--ignore", "--noupdate", "--json", "--zeros", env=history)
        return dict(json.loads(told)["kernel"])


@dataclass(frozen=True)
class End(Namespace):
    """One end of the pair: a namespace, with the interface in it."""

    interface: str
    address: str
    address6: str
    hardware: str

    @property
    def index(self) -> int:
        """The interface's number inside."""
        with self.entered():
            return socket.if_nametoindex(self.interface)

    @property
    def mac(self) -> bytes:
        """The hardware address as it stands in a frame."""
        return bytes.fromhex(self.hardware.replace(":", ""))

    def ping(self, address: str, count: int, *, timeout_s: float = DEADLINE_S) -> int:
        """Send echo requests one after the other; the number of replies, each of which has arrived here."""
        with self.entered():
            return ping(address, count, timeout_s=timeout_s)

    def counters(self) -> Counters:
        """What ``ip -s link`` counted so far."""
        (link,) = json.loads(self.run("ip", "-s", "-j", "link", "show", "dev", self.interface))
        return Counters(
            *(link["stats64"][f.name.split("_")[0]][f.name.split("_")[1]] for f in fields(Counters))
        )

    def received(self) -> int:
        """How many frames arrived so far: ``rx_packets`` without starting a process."""
        with self.entered():
            lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
        return next(
            int(line.split()[2])
            for line in (line.replace(":", " ") for line in lines[2:])
            if line.split()[0] == self.interface
        )


@dataclass(frozen=True)
class Pair:
    """Two ends: what ``near`` sends arrives at ``far``, and the other way round."""

    near: End
    far: End

    def other(self, end: End) -> End:
        return self.far if end is self.near else self.near

    def send(self, *frames: bytes, count: int = 1, sender: End | None = None, arrive: bool = True) -> int:
        """Send whole frames from ``near`` (or ``sender``), all of them ``count`` times; the number sent.

        In bursts that no queue is too short for, each after the one before has arrived: so many frames go out, and
        so many come in.  ``arrive=False`` where something on the sender's side stops them.
        """
        sender = sender or self.near
        receiver, sent = self.other(sender), 0
        before = receiver.received()
        with sender.entered():
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        with wire:
            wire.bind((sender.interface, 0))
            for _ in range(count):
                for frame in frames:
                    wire.send(frame)
                    sent += 1
                    if arrive and sent % BURST == 0:
                        _await_arrival(receiver, before + sent)
        if arrive:
            _await_arrival(receiver, before + sent)
            # What was taken out of a queue has been worked on to its end, on whichever CPU.
            lib.sonde_membarrier_global()
        return sent


def _await_arrival(receiver: End, packets: int) -> None:
    """Until so many frames have arrived, and the kernel has taken all that waited on its CPUs."""
    waiting = _backlogs()
    until = time.monotonic() + DEADLINE_S
    while receiver.received() < packets or waiting:
        if time.monotonic() > until:
            raise TimeoutError(f"{receiver.received()} frames arrived at {receiver.interface} of {packets}")
        waiting &= _backlogs()


def settle() -> None:
    """Wait until the kernel has taken what waits on its CPUs to be received, and the answers to that, and theirs."""
    for _ in range(3):
        waiting = _backlogs()
        until = time.monotonic() + DEADLINE_S
        while waiting:
            assert time.monotonic() < until, f"frames wait on the CPUs {waiting}"
            waiting &= _backlogs()
        lib.sonde_membarrier_global()


def _backlogs() -> set[int]:
    """The CPUs on which received frames wait to be taken; none on kernels that do not tell."""
    rows = [line.split() for line in Path("/proc/net/softnet_stat").read_text().splitlines()]
    return {int(row[12], 16) for row in rows if len(row) > 12 and int(row[11], 16)}


def frame(sender: End, receiver: End, ether_type: int, payload: bytes) -> bytes:
    """An Ethernet frame from one end to the other, padded to the 60 bytes that a wire carries at least."""
    return (receiver.mac + sender.mac + ether_type.to_bytes(2, "big") + payload).ljust(60, b"\0")


@contextmanager
def namespace() -> Iterator[Namespace]:
    """A new namespace, in which IPv6 says nothing by itself; gone at the end."""
    outside = os.open(HERE, os.O_RDONLY)
    try:
        call("unshare", CLONE_NEWNET)
        made = Namespace(os.open(HERE, os.O_RDONLY))
    finally:
        call("setns", outside, CLONE_NEWNET)
        os.close(outside)
    try:
        _hush(made)
        yield made
    finally:
        os.close(made.fd)


def has_ipv6() -> bool:
    return Path("/proc/sys/net/ipv6").exists()


def _hush(made: Namespace) -> None:
    """No duplicate address detection, no router solicitations, no addresses that the kernel makes up."""
    if not has_ipv6():
        return
    for family in ("all", "default"):
        for name, value in (
            ("accept_dad", 0),
            ("dad_transmits", 0),
            ("router_solicitations", 0),
            ("accept_ra", 0),
            ("autoconf", 0),
            ("addr_gen_mode", 1),
        ):
            made.sysctl(f"ipv6.conf.{family}.{name}", value)


def _set_up(end: End, neighbour: End) -> tuple[str, ...]:
    """Addresses, and the neighbour's; without multicast and ARP nobody joins groups, asks or is asked.

    ``arp off`` keeps IPv6 from joining the group of its own address, which a listener report would tell.
    """
    v6 = (
        f"address add {end.address6}/64 dev {end.interface} nodad",
        f"neighbour add {neighbour.address6} lladdr {neighbour.hardware} dev {end.interface} nud permanent",
    )
    return (
        "link set lo up",
        f"link set dev {end.interface} arp off multicast off",
        f"link set dev {end.interface} up",
        f"address add {end.address}/24 dev {end.interface}",
        f"neighbour add {neighbour.address} lladdr {neighbour.hardware} dev {end.interface} nud permanent",
        *(v6 if has_ipv6() else ()),
    )


def _await_carrier(end: End) -> None:
    """Until frames pass: before its carrier has been noticed an interface has the queue that drops all."""
    until = time.monotonic() + DEADLINE_S
    while True:
        (link,) = json.loads(end.run("ip", "-j", "link", "show", "dev", end.interface))
        if link["operstate"] == "UP" and link["qdisc"] != "noop":
            return
        if time.monotonic() > until:
            raise TimeoutError(f"{end.interface} has no carrier: {link}")
        time.sleep(0.02)


def joined(ends: Pair, near: str, far: str) -> Pair:
    """Join the namespaces by one more veth pair, without addresses; it goes with them, or when an end is deleted."""
    made = Pair(
        End(ends.near.fd, near, "", "", "02:00:00:00:01:01"),
        End(ends.far.fd, far, "", "", "02:00:00:00:01:02"),
    )
    ends.near.ip(
        f"link add name {near} address {made.near.hardware} arp off multicast off type veth "
        f"peer name {far} address {made.far.hardware} netns {ends.far.path}",
        f"link set dev {near} up",
    )
    ends.far.ip(f"link set dev {far} arp off multicast off", f"link set dev {far} up")
    _await_carrier(made.near)
    _await_carrier(made.far)
    return made


@contextmanager
def pair() -> Iterator[Pair]:
    """Two namespaces joined by a veth pair with addresses of both versions; all is gone at the end."""
    with ExitStack() as stack:
        near = End(
            stack.enter_context(namespace()).fd, "sonde0", "10.99.0.1", "fd00:99::1", "02:00:00:00:00:01"
        )
        far = End(
            stack.enter_context(namespace()).fd, "sonde1", "10.99.0.2", "fd00:99::2", "02:00:00:00:00:02"
        )
        near.ip(
            f"link add name {near.interface} address {near.hardware} type veth "
            f"peer name {far.interface} address {far.hardware} netns {far.path}",
            *_set_up(near, far),
        )
        far.ip(*_set_up(far, near))
        _await_carrier(near)
        _await_carrier(far)
        yield Pair(near, far)
