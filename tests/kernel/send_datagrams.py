"""Sends empty datagrams as told, ``address port count`` a line, and says how many: the member of a cgroup."""

from __future__ import annotations

import socket
import sys

for line in sys.stdin:
    address, port, count = line.split()
    for _ in range(int(count)):
        # A new one each time: nobody listens, and the answer to the first would be an error at the second.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            wire.sendto(b"", (address, int(port)))
    print(count, flush=True)
