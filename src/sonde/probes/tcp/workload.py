"""Makes a known number of TCP connections, for tests and for trying the probe: prints what it made, as JSON.

python -m sonde.probes.tcp.workload --connections 101 --refused 17 --resets 13
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import struct
from dataclasses import dataclass

ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER: close at once, with a reset."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Connections of this process with itself: primes show what is counted twice or missed.

    ``connections`` are asked ``request_bytes`` and answer ``response_bytes``, and the asking side ends first;
    ``refused`` find nobody; ``resets`` are thrown away by the side that accepted.
    """

    connections: int = 101
    refused: int = 17
    resets: int = 13
    request_bytes: int = 1009
    response_bytes: int = 10007

    @property
    def ends(self) -> dict[str, int]:
        """How many connections end how, in the words of the stream's column ``end``: both sides of each."""
        return {
            "closed": 2 * self.connections,
            "ECONNREFUSED": self.refused,
            "reset sent": self.resets,
            "ECONNRESET": self.resets,
        }

    @property
    def sent_bytes(self) -> int:
        """What both sides sent, with SYN and FIN: the asking side's SYN, and each side's FIN, are acknowledged."""
        return self.connections * (self.request_bytes + self.response_bytes + 3) + self.resets

    @property
    def received_bytes(self) -> int:
        """What both sides received, with each side's FIN."""
        return self.connections * (self.request_bytes + self.response_bytes + 2)

    def run(self, address: str = "127.0.0.1") -> None:
        """Make them one after the other."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.create_server(
            (address, 0), family=family, dualstack_ipv6=family == socket.AF_INET6
        ) as server:
            for _ in range(self.connections):
                self._ask(server)
            for _ in range(self.resets):
                self._throw_away(server)
        with socket.socket(family) as silent:
            silent.bind((address, 0))
            for _ in range(self.refused):
                with socket.socket(family) as client:
                    client.connect_ex(silent.getsockname())

    def _ask(self, server: socket.socket) -> None:
        client = socket.create_connection(server.getsockname()[:2])
        accepted, _ = server.accept()
        client.sendall(bytes(self.request_bytes))
        _read(accepted, self.request_bytes)
        accepted.sendall(bytes(self.response_bytes))
        _read(client, self.response_bytes)
        # Not close(): the kernel may let go of a closed socket before the other side's FIN has come to it.
        client.shutdown(socket.SHUT_WR)
        assert accepted.recv(1) == b""
        accepted.close()
        assert client.recv(1) == b""
        client.close()

    def _throw_away(self, server: socket.socket) -> None:
        with socket.create_connection(server.getsockname()[:2]) as client:
            accepted, _ = server.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            accepted.close()
            try:
                client.recv(1)
            except ConnectionResetError:
                return


def _read(connection: socket.socket, count: int) -> None:
    while count:
        count -= len(connection.recv(count))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Make a known number of TCP connections.")
    parser.add_argument("--connections", type=int, default=101)
    parser.add_argument("--refused", type=int, default=17)
    parser.add_argument("--resets", type=int, default=13)
    parser.add_argument("--address", default="127.0.0.1")
    arguments = parser.parse_args()
    workload = Workload(arguments.connections, arguments.refused, arguments.resets)
    workload.run(arguments.address)
    print(json.dumps({"pid": os.getpid(), "ends": workload.ends}))


if __name__ == "__main__":
    main()
