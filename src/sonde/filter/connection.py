"""The TCP connections that somebody may be logged in on: what the environment says, and what the parents hold."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from sonde.filter.packet import Address

ESTABLISHED = 1  # TCP_ESTABLISHED, include/net/tcp_states.h
PARENTS_MAX = 100


@dataclass(frozen=True, slots=True)
class Connection:
    """A TCP connection as this machine sees it; ``known_by`` says where it was found."""

    local: Address
    local_port: int
    peer: Address
    peer_port: int
    known_by: str

    def __str__(self) -> str:
        return (
            f"from {self.peer} port {self.peer_port} to {self.local} port {self.local_port} ({self.known_by})"
        )


def connections(environment: Mapping[str, str]) -> list[Connection]:
    """Find them; two ways that know nothing of each other, for sudo takes the variables away and tmux the parents."""
    found = [*from_environment(environment), *from_parents()]
    return list(
        {(each.local, each.local_port, each.peer, each.peer_port): each for each in reversed(found)}.values()
    )


def from_environment(environment: Mapping[str, str]) -> Iterator[Connection]:
    """Read what sshd(8) tells its sessions: ``SSH_CONNECTION``; ``SSH_CLIENT`` is the same without our address."""
    words = environment.get("SSH_CONNECTION", "").split()
    if len(words) != 4:
        return
    try:
        peer, local = _plain(ip_address(_unzoned(words[0]))), _plain(ip_address(_unzoned(words[2])))
        yield Connection(local, int(words[3]), peer, int(words[1]), "SSH_CONNECTION")
    except ValueError:
        return


def from_parents() -> Iterator[Connection]:
    """Find the established connections of this network namespace that this process's parents hold, sshd's for one."""
    held = {inode: name for name, inode in _held_sockets()}
    if not held:
        return
    for family in ("tcp", "tcp6"):
        for row in _rows(f"/proc/thread-self/net/{family}"):
            local, peer, state, inode = row[1], row[2], int(row[3], 16), row[9]
            if state == ESTABLISHED and inode in held:
                yield Connection(*_endpoint(local), *_endpoint(peer), f"held by {held[inode]}")


def _held_sockets() -> Iterator[tuple[str, str]]:
    """Give the sockets of the parents: what the process is called, and the socket's inode."""
    pid = os.getppid()
    for _ in range(PARENTS_MAX):
        if pid <= 1:
            return
        name, parent = _status(pid)
        for target in _open_files(pid):
            if target.startswith("socket:["):
                yield f"{name}, pid {pid}", target[8:-1]
        pid = parent


def _status(pid: int) -> tuple[str, int]:
    """Give a process's name and its parent; 0 where it has ended meanwhile."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            name, _, rest = file.read().partition("(")[2].rpartition(")")
    except OSError:
        return "", 0
    return name if name.isprintable() else "a process", int(rest.split()[1])


def _open_files(pid: int) -> Iterator[str]:
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:  # it has ended, or belongs to somebody whose descriptors we may not see
        return
    yield from (_target(f"/proc/{pid}/fd/{number}") for number in numbers)


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _rows(path: str) -> Iterator[list[str]]:
    try:
        with open(path, encoding="ascii") as file:
            next(file, None)
            yield from (line.split() for line in file)
    except FileNotFoundError:  # a kernel without IPv6
        return


def _endpoint(text: str) -> tuple[Address, int]:
    """Read ``0100007F:0016``: words in the machine's byte order, each of which is as on the wire in memory."""
    digits, _, port = text.partition(":")
    words = [int(digits[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(digits), 8)]
    raw = b"".join(words)
    return _plain(IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)), int(port, 16)


def _plain(address: Address) -> Address:
    """Give the IPv4 address of one that an IPv6 socket shows (::ffff:192.0.2.1): packets of it are IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _unzoned(text: str) -> str:
    """Leave out the interface of a link-local address: fe80::1%eth0."""
    return text.partition("%")[0]
