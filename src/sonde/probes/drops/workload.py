"""Has the kernel drop a known number of packets, in a network namespace of its own: for tests, and for trying the probe."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import threading
import time
from pathlib import Path

from sonde._libbpf import lib
from sonde._libbpf.check import check

PORT = 9  # discard: nobody listens in a new namespace
BURST = 400
"""A CPU's backlog holds 1,000 packets, and each of ours is answered: who runs several at a time shares it."""
DEADLINE_S = 120
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def run(datagrams: int = 1009, *, length_bytes: int = 100, burst: int = BURST) -> int:
    """Send datagrams over a new namespace's loopback to a port without a socket; the namespace's number.

    Each is dropped for NO_SOCKET, with its headers of 28 bytes, before the call ends. Needs CAP_SYS_ADMIN; the namespace
    ends with the call.
    """
    numbers: list[int] = []

    def send() -> None:
        check(lib.sonde_unshare_network(), "make a network namespace", capability="CAP_SYS_ADMIN")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            fcntl.ioctl(wire, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP) + bytes(14))
            for sent in range(1, datagrams + 1):
                # Not connected: an answer of ICMP is then no error of the next call's.
                wire.sendto(bytes(length_bytes), ("127.0.0.1", PORT))
                if sent % burst == 0 or sent == datagrams:
                    _await_drops(sent)
        # The kernel counts them a moment before it drops them.
        lib.sonde_membarrier_global()
        numbers.append(os.stat("/proc/thread-self/ns/net").st_ino)

    # A thread of its own: its namespace ends with it.
    sender = threading.Thread(target=send)
    sender.start()
    sender.join()
    if not numbers:
        raise RuntimeError("the packets were not sent")
    return numbers[0]


def _await_drops(count: int) -> None:
    """Until the namespace of the calling thread has counted so many datagrams for nobody."""
    until = time.monotonic() + DEADLINE_S
    while _without_socket() < count:
        if time.monotonic() > until:
            raise TimeoutError(f"{_without_socket()} datagrams arrived of {count}")


def _without_socket() -> int:
    names, numbers = (
        line.split()
        for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()
        if line.startswith("Udp:")
    )
    return int(numbers[names.index("NoPorts")])


if __name__ == "__main__":
    run()
