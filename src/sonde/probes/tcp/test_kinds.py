"""The probe ``tcp`` and connections of other kinds: with data in the SYN (TCP Fast Open), and over several paths (MPTCP)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from kernel import frames
from kernel.evidence import Configuration
from kernel.network import pair
from sonde.probe import Selection
from sonde.probes.tcp.child import PRELUDE, TCP, Row, child, records
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]

# Documentation/networking/ip-sysctl.rst: clients, servers, data without a cookie on both sides, and all listeners.
FAST_OPEN = 0x1 | 0x2 | 0x4 | 0x200 | 0x400
LISTENS = "server = socket.create_server((sys.argv[1], 4711))\n"


def test_data_that_came_with_the_syn_is_received() -> None:
    """The client's first bytes are in its SYN: they came before the connection was established, and count."""
    code = """
for _ in range(7):
    client = socket.socket()
    client.sendto(bytes(53), socket.MSG_FASTOPEN, server.getsockname())
    accepted, _ = server.accept()
    accepted.sendall(accepted.recv(53)[:11])
    client.recv(11)
    client.shutdown(socket.SHUT_WR)
    accepted.recv(1)
    accepted.close()
    client.recv(1)
    client.close()
"""
    with pair() as wire:
        wire.far.sysctl("ipv4.tcp_fastopen", FAST_OPEN)
        with Run(TCP, "connections", values={"ports": ("4711",)}) as run:
            wire.far.run(sys.executable, "-c", PRELUDE + LISTENS + code, wire.far.address)
            run.stop()
            rows = records(run)
            batch = run.read()
        assert wire.far.nstat()["TcpExtTCPFastOpenPassive"] == 7
    carried = sorted((row["direction"], row["sent_bytes"], row["received_bytes"]) for row in rows)
    # SYN and FIN of the one, FIN of the other.
    assert carried == 7 * [("accept", 11 + 1, 53 + 1)] + 7 * [("connect", 53 + 2, 11 + 1)]
    assert batch.accounting.balanced, str(batch.accounting)


def _accepted_before_it_is_established(output: str) -> tuple[Row, int]:
    """The row of a connection whose client never answers after its SYN with data, and which the server aborts."""
    code = """
step()
accepted, _ = server.accept()
assert len(accepted.recv(100)) == 53
accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
accepted.close()
"""
    with pair() as wire:
        wire.far.sysctl("ipv4.tcp_fastopen", FAST_OPEN)
        # So that nobody there sends a reset when the server answers.
        wire.near.ip(f"address flush dev {wire.near.interface}")
        serving = wire.far.popen(
            sys.executable,
            "-c",
            PRELUDE + LISTENS + code,
            wire.far.address,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert serving.stdout is not None
            assert serving.stdout.readline() == "ready\n"
            with Run(TCP, output, values={"ports": ("4711",)}) as run:
                begin = frames.tcp(wire.near, wire.far, 4711, data=bytes(53))
                wire.send(frames.ipv4(wire.near, wire.far, frames.TCP, begin))
                serving.communicate("\n", timeout=60)
                run.stop()
                batch = run.read()
        finally:
            serving.kill()
    (row,) = batch.rows()
    assert batch.accounting.balanced, str(batch.accounting)
    return row, serving.pid


def test_one_that_is_accepted_before_it_is_established_begins_there() -> None:
    """The server has the data, and its side of the connection, while the client's answer is still awaited."""
    row, pid = _accepted_before_it_is_established("connections")
    assert (row["pid"], row["direction"], row["peer_address"]) == (pid, "accept", "10.99.0.1")
    assert (row["begun_before"], row["is_established"], row["received_bytes"]) == (False, False, 53)
    assert row["lifetime_ns"] > 0
    # It did not wait after it was established, and its client's step is not known here.
    assert (row["accept_ns"], row["connect_ns"]) == (None, None)
    assert (row["end"], row["error"]) == ("reset sent", None)


def test_its_wait_is_not_measured_but_it_is_counted() -> None:
    row, pid = _accepted_before_it_is_established("accept")
    assert (row["pid"], row["count"], row["unmeasured"]) == (pid, 1, 1)


def test_connections_of_mptcp_are_whose_process_has_them() -> None:
    """The process has MPTCP's socket, and the kernel TCP's below it: those that come, and those from before."""
    if missing := Configuration("CONFIG_MPTCP")():
        pytest.skip(missing)
    code = """
MPTCP = 262
server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP)
server.bind(("127.0.0.1", 0))
server.listen()
def ask():
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP)
    client.connect(server.getsockname())
    return client, server.accept()[0]
def end(client, accepted):
    client.sendall(bytes(1009))
    left = 1009
    while left: left -= len(accepted.recv(left))
    client.shutdown(socket.SHUT_WR)
    accepted.recv(1)
    accepted.close()
    client.recv(1)
    client.close()
before = ask()
step()
end(*before)
for _ in range(7): end(*ask())
"""
    with child(code) as started:
        started.go()
        with Run(TCP, "connections", selection=Selection(pid=started.pid)) as run:
            started.finish()
            rows = records(run, until=lambda found: len(found) >= 16)
            run.stop()
            batch = run.read()
    assert Counter((row["direction"], row["begun_before"]) for row in rows) == {
        ("connect", False): 7,
        ("accept", False): 7,
        (None, True): 2,
    }
    assert all(row["accept_ns"] > 0 for row in rows if row["direction"] == "accept")
    # With its FIN; what MPTCP says for itself is in the options.
    assert Counter(row["received_bytes"] for row in rows) == {1009 + 1: 8, 1: 8}
    assert batch.accounting.balanced, str(batch.accounting)
