"""The probe ``tcp`` on the real kernel: every connection is told once, with what it carried and how it ended."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel.network import namespace
from sonde.probes.tcp.child import PRELUDE, TCP, connections_of, measured, records, table_of, total
from sonde.probes.tcp.workload import Workload

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]

RUN = "Workload(*map(int, sys.argv[2:])).run(sys.argv[1])"
WORKLOAD = Workload(101, 17, 13)
NUMBERS = ("101", "17", "13")


@pytest.mark.parametrize(
    ("address", "version", "shown"),
    [("127.0.0.1", 4, "127.0.0.1"), ("::1", 6, "::1"), ("::ffff:127.0.0.1", 4, "127.0.0.1")],
    ids=["IPv4", "IPv6", "mapped"],
)
def test_a_prime_count_of_connections_is_told_exactly(address: str, version: int, shown: str) -> None:
    """101 connections, 17 that are refused and 13 that are reset: both sides of each, with every byte."""
    rows, batch, pid = connections_of(RUN, address, *NUMBERS)

    assert Counter(row["end"] for row in rows) == WORKLOAD.ends
    assert total(rows, "sent_bytes") == WORKLOAD.sent_bytes
    assert total(rows, "received_bytes") == WORKLOAD.received_bytes
    assert {(row["pid"], row["ip_version"], row["peer_address"]) for row in rows} == {(pid, version, shown)}
    assert {row["begun_before"] for row in rows} == {False}
    assert batch.accounting.balanced, str(batch.accounting)
    assert batch.accounting.lost_total == 0


def test_each_side_has_its_own_ports_latency_and_bytes() -> None:
    """What one side sends the other receives; the peer's port of one is the local port of the other."""
    rows, _, _ = connections_of(RUN, "127.0.0.1", "101", "0", "0")
    asking = {row["local_port"]: row for row in rows if row["direction"] == "connect"}
    accepting = {row["peer_port"]: row for row in rows if row["direction"] == "accept"}

    assert asking.keys() == accepting.keys()
    assert len(asking) == 101
    for port, row in asking.items():
        other = accepting[port]
        # SYN and FIN of the one, FIN of the other.
        assert (row["sent_bytes"], row["received_bytes"]) == (1009 + 2, 10007 + 1)
        assert (other["sent_bytes"], other["received_bytes"]) == (10007 + 1, 1009 + 1)
        assert row["connect_ns"] > 0
        assert row["accept_ns"] is None
        assert other["connect_ns"] is None
        assert other["accept_ns"] > 0
        assert 0 < row["connect_ns"] < row["lifetime_ns"]
        assert row["rtt_ns"] > 0


def test_what_failed_has_an_error_and_what_was_reset_says_by_whom() -> None:
    rows, _, _ = connections_of(RUN, "127.0.0.1", *NUMBERS)
    by_end: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_end.setdefault(row["end"], []).append(row)

    assert {(row["is_established"], row["reset"]) for row in by_end["ECONNREFUSED"]} == {(False, "received")}
    assert {(row["direction"], row["reset"]) for row in by_end["reset sent"]} == {("accept", "sent")}
    assert {(row["direction"], row["reset"]) for row in by_end["ECONNRESET"]} == {("connect", "received")}
    # Linux 6.10 and later tell why.
    reasons = {row["reset_reason"] for row in by_end["reset sent"]}
    assert reasons in ({"TCP_ABORT_ON_CLOSE"}, {"TCP_STATE"}, {"NOT_SPECIFIED"}, {None}), reasons


@pytest.mark.parametrize("output", ["processes", "peers"])
def test_the_tables_add_up_to_the_workload(output: str) -> None:
    rows, batch, pid = table_of(output, RUN, "::1", *NUMBERS)

    assert total(rows, "connects") == 101 + 17 + 13
    assert total(rows, "accepts") == 101 + 13
    assert total(rows, "failed") == 17
    assert total(rows, "closed") == total(rows, "connections") == 2 * 101 + 17 + 2 * 13
    assert total(rows, "sent_bytes") == WORKLOAD.sent_bytes
    assert total(rows, "received_bytes") == WORKLOAD.received_bytes
    assert total(rows, "bytes") == WORKLOAD.sent_bytes + WORKLOAD.received_bytes
    assert total(rows, "resets") == 17 + 2 * 13
    if output == "processes":
        assert [row["pid"] for row in rows] == [pid]
    else:
        # Two sides of the server, and where nobody was.
        assert {row["direction"] for row in rows} == {"connect", "accept"}
        assert {row["peer_address"] for row in rows} == {"::1"}
        assert len(rows) == 3
    assert batch.accounting.balanced, str(batch.accounting)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("connect", {None: 101 + 13, "ECONNREFUSED": 17}),
        ("accept", {None: 101 + 13}),
        ("rtt", {None: 2 * 101 + 2 * 13}),
    ],
)
def test_each_connection_is_in_the_histograms_once(output: str, expected: dict[str | None, int]) -> None:
    rows, batch, pid = table_of(output, RUN, "127.0.0.1", *NUMBERS)
    assert {row["error"]: row["count"] for row in rows} == expected
    assert {row["pid"] for row in rows} == {pid}
    # Handshake and reset leave one side of those without a measured round trip, perhaps.
    assert total(rows, "unmeasured") <= (0 if output != "rtt" else 2 * 13)
    assert batch.accounting.balanced, str(batch.accounting)


def test_a_connection_that_waits_to_be_accepted_waits_that_long() -> None:
    """Its latency is from ESTABLISHED to accept(), not the client's."""
    code = """
with socket.create_server(("127.0.0.1", 0)) as server:
    begun = time.monotonic_ns()
    client = socket.create_connection(server.getsockname())
    taken = time.monotonic_ns() - begun
    time.sleep(0.3)
    accepted, _ = server.accept()
step(str(taken))
"""
    with measured("connections", code) as (started, run):
        taken_ns = int(started.go())
        started.finish()
        run.stop()
        rows = records(run)
    by_direction = {row["direction"]: row for row in rows}
    assert by_direction["accept"]["accept_ns"] >= 300_000_000
    assert 0 < by_direction["connect"]["connect_ns"] <= taken_ns


def test_a_full_ring_loses_and_says_so() -> None:
    """A storm of short connections into a ring for some thirty records: what is missing is counted."""
    numbers = ("127.0.0.1", "499", "0", "0")
    with measured("connections", RUN, *numbers, max_entries=4096) as (started, run):
        started.finish()
        run.stop()
        rows = records(run)
        account = run.read().accounting
    assert account.lost["ring_full"] > 0
    assert len(rows) + account.lost["ring_full"] == 2 * 499
    assert account.balanced, str(account)


def test_a_full_table_adds_the_rest_up_in_other() -> None:
    """Seven rows for more ports than that: nothing is missing from the sum."""
    code = "for _ in range(23): Workload(3, 0, 0).run()"
    rows, batch, _ = table_of("peers", code, max_entries=7)
    (other,) = [row for row in rows if row["is_other"]]
    assert len(rows) == 8
    # The kernel may give one server a port that another has had: its row has three more.
    assert {row["connections"] % 3 for row in rows} == {0}
    assert total(rows, "connections") == 2 * 3 * 23
    assert other["connections"] > total(rows, "connections") / 2
    assert other["peer_address"] is None
    assert total(rows, "sent_bytes") == 23 * Workload(3, 0, 0).sent_bytes
    assert batch.accounting.balanced, str(batch.accounting)


def test_connections_without_room_are_lost_and_counted() -> None:
    """13 places for 31 connections that are open at a time: 62 sides, of which those that find a place are told."""
    code = """
with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
    clients = [socket.create_connection(server.getsockname()) for _ in range(31)]
    accepted = [server.accept()[0] for _ in range(31)]
    for each in clients + accepted:
        each.close()
"""

    def small(spec: Any, output: str, values: Any) -> None:
        assert TCP.configure is not None
        TCP.configure(spec, output, values)
        spec.maps["sockets"].max_entries = 13

    with measured("connections", code, probe=replace(TCP, configure=small)) as (started, run):
        started.finish()
        run.stop()
        rows = records(run)
        account = run.read().accounting
    # A hash of the kernel's may hold some more than it says: it keeps one element per CPU in reserve.
    assert account.lost["map_full"] + len(rows) + account.filtered >= 62
    assert account.lost["map_full"] > 0
    assert {row["begun_before"] for row in rows} <= {False}
    assert account.balanced, str(account)


SERVER = """
import asyncio
async def answer(reader, writer):
    length = int((await reader.readuntil(b"\\r\\n\\r\\n")).split()[1][1:])
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n" % length + bytes(length))
    await writer.drain()
    writer.close()
    await writer.wait_closed()
async def ask(port, number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /%d HTTP/1.1\\r\\n\\r\\n" % (1000 + number))
    assert len(await reader.read()) > 1000
    writer.close()
    await writer.wait_closed()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    many = asyncio.Semaphore(31)
    async def one(number):
        async with many:
            await ask(port, number)
    await asyncio.gather(*(one(number) for number in range(1000)))
asyncio.run(main())
"""


def test_a_thousand_connections_of_a_real_client_and_server_none_missing() -> None:
    """An HTTP server and its clients, 31 at a time: two thousand ends, each request's answer with its own length."""
    rows, batch, pid = connections_of(SERVER)
    by_direction = Counter(row["direction"] for row in rows)
    assert by_direction == {"connect": 1000, "accept": 1000}
    assert {row["pid"] for row in rows} == {pid}
    # The server ends first; its FIN is one more.
    answered = [row["sent_bytes"] for row in rows if row["direction"] == "accept"]
    head = len("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n")
    assert sorted(answered) == [1000 + number + head + 1 for number in range(1000)]
    assert batch.accounting.lost_total == 0
    assert batch.accounting.balanced, str(batch.accounting)


def test_the_command_line_shows_a_line_a_connection_and_gives_machines_all_of_it() -> None:
    """A person's table has what fits, rows for machines have both ends and the reasons, too."""
    command = [sys.executable, "-m", "sonde", "trace", "tcp"]
    workload = [
        "--",
        sys.executable,
        "-m",
        "sonde.probes.tcp.workload",
        "--connections",
        "7",
        "--resets",
        "3",
    ]
    told = subprocess.run(
        [*command, "--format", "json", *workload], capture_output=True, text=True, timeout=120
    )
    rows = [row for row in map(json.loads, told.stdout.splitlines()) if "time" in row]
    assert Counter(row["end"] for row in rows) == Workload(7, 17, 3).ends
    assert {"local_address", "local_port", "peer_port", "reset_reason", "begun_before"} <= rows[0].keys()

    shown = subprocess.run([*command, *workload], capture_output=True, text=True, timeout=120).stdout
    lines = [line.split() for line in shown.splitlines() if "127.0.0.1:" in line]
    assert Counter(line[5] for line in lines) == {
        "closed": 14,
        "ECONNREFUSED": 17,
        "reset": 3,
        "ECONNRESET": 3,
    }
    assert "delivered 37 " in shown


@pytest.mark.parametrize("number", range(1, len(TCP.variants)), ids=[each.name for each in TCP.variants[1:]])
def test_each_way_to_load_it_tells_the_same(number: int) -> None:
    """The first one is the kernel's choice, in all other tests; these go everywhere."""
    only = replace(TCP, variants=(TCP.variants[number],))
    rows, batch, pid = connections_of(RUN, "127.0.0.1", *NUMBERS, probe=only)
    assert Counter(row["end"] for row in rows) == WORKLOAD.ends
    assert {row["pid"] for row in rows} == {pid}
    assert all(row["accept_ns"] > 0 for row in rows if row["direction"] == "accept")
    assert batch.accounting.balanced, str(batch.accounting)


def test_who_only_sends_is_not_below_who_only_receives() -> None:
    """The first row of top is the process that sent, by the SYN that it has more than the one that received."""
    code = """
import os, socket
with socket.create_server(("127.0.0.1", 0)) as server:
    pid = os.fork()
    if pid == 0:
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(bytes(10007))
            client.shutdown(socket.SHUT_WR)
            client.recv(1)
        os._exit(0)
    with server.accept()[0] as accepted:
        while accepted.recv(10007): pass
os.waitpid(pid, 0)
print(pid, os.getpid())
"""
    command = [
        sys.executable,
        "-m",
        "sonde",
        "top",
        "tcp",
        "--format",
        "json",
        "--",
        sys.executable,
        "-c",
        code,
    ]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout.splitlines()
    (pids,) = [line.split() for line in told if not line.startswith("{")]
    rows = [row for row in map(json.loads, (line for line in told if line.startswith("{"))) if "pid" in row]
    assert [(str(row["pid"]), row["bytes"]) for row in rows] == [
        (pids[0], 10007 + 2 + 1),
        (pids[1], 10007 + 1 + 1),
    ]


@pytest.mark.host_only
def test_the_program_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """As it is printed, but that a connection is made where it waits: by a process that is named nginx."""
    (program,) = re.findall(
        r"^```python\n(.*?)^```$", Path(__file__).with_name("README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    code = """
open("/proc/self/comm", "w").write("nginx")
with socket.create_server(("127.0.0.1", 8001)) as server:
    with socket.create_connection(server.getsockname()) as client, server.accept()[0] as accepted:
        client.shutdown(socket.SHUT_WR)
        accepted.recv(1)
        accepted.shutdown(socket.SHUT_WR)
        client.recv(1)
"""
    with namespace() as made:
        made.ip("link set lo up")
        exec(program.replace("time.sleep(0.1)", "step()"), {"step": lambda: made.python(PRELUDE + code)})
    *rows, account = capsys.readouterr().out.splitlines()
    assert {row.split()[2] for row in rows} == {"closed"}
    assert account.startswith("seen ")
    assert "delivered 20 " in account
