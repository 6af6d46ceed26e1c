"""Has the kernel drop a known number of packets, in a network namespace of its own: for tests, and for trying the probe."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import threading

from sonde._libbpf import lib
from sonde._libbpf.check import check

PORT = 9  # discard: nobody listens in a new namespace
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def run(datagrams: int = 1009, *, length_bytes: int = 100) -> int:
    """Send datagrams over a new namespace's loopback to a port without a socket; the namespace's number.

    Each is dropped for NO_SOCKET, with its headers of 28 bytes. Needs CAP_SYS_ADMIN; the namespace ends with the call.
    """
    numbers: list[int] = []

    def send() -> None:
        check(lib.sonde_unshare_network(), "make a network namespace", capability="CAP_SYS_ADMIN")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            fcntl.ioctl(wire, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP) + bytes(14))
            for _ in range(datagrams):
                # Not connected: an answer of ICMP is then no error of the next call's.
                wire.sendto(bytes(length_bytes), ("127.0.0.1", PORT))
        numbers.append(os.stat("/proc/thread-self/ns/net").st_ino)

    # A thread of its own: its namespace ends with it.
    sender = threading.Thread(target=send)
    sender.start()
    sender.join()
    if not numbers:
        raise RuntimeError("the packets were not sent")
    return numbers[0]


if __name__ == "__main__":
    run()
