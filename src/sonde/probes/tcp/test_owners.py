"""Whose connections are, in the probe ``tcp``: who connects, who accepts, whichever namespace it is in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter

import pytest

from kernel.network import pair
from sonde.probe import Selection
from sonde.probes.tcp.child import PRELUDE, TCP, child, connections_of, measured, records
from sonde.probes.tcp.workload import Workload
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]

FORKED = """
server = socket.create_server(("127.0.0.1", 0))
pid = os.fork()
if pid == 0:
    for _ in range(23):
        accepted, _ = server.accept()
        accepted.recv(1)
        accepted.close()
    os._exit(0)
for _ in range(23):
    socket.create_connection(server.getsockname()).close()
os.waitpid(pid, 0)
print(pid, flush=True)
"""


def test_an_accepted_connection_is_whose_process_accepted_it() -> None:
    """A forked child accepts what its parent connects: the parent made the listener, too."""
    with measured("connections", FORKED, children=True) as (started, run):
        other = int(started.go())
        started.finish()
        run.stop()
        rows = records(run)
        account = run.read().accounting
    assert Counter((row["pid"], row["direction"]) for row in rows) == {
        (started.pid, "connect"): 23,
        (other, "accept"): 23,
    }
    assert account.balanced, str(account)


def test_one_process_alone_when_asked() -> None:
    """The child's connections are filtered though the parent's packets bring them about."""
    rows, batch, pid = connections_of(FORKED)
    assert Counter(row["direction"] for row in rows) == {"connect": 23}
    assert {row["pid"] for row in rows} == {pid}
    assert batch.accounting.filtered >= 23
    assert batch.accounting.balanced


def test_workers_that_ran_before_are_among_the_children() -> None:
    """As those of nginx: its master, which one names, has started them long ago."""
    code = """
server = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    worker = os.fork()
    if worker == 0:
        for _ in range(23): server.accept()[0].close()
        os._exit(0)
    print(worker, flush=True)
    os.waitpid(worker, 0)
    os._exit(0)
sys.stdin.readline()
for _ in range(23): socket.create_connection(server.getsockname()).recv(1)
os.wait()
"""
    with child(code) as started:
        worker = int(started.go())
        with Run(TCP, "connections", selection=Selection(started.pid, children=True)) as run:
            started.finish()
            rows = records(run, until=lambda found: len(found) >= 46)
            run.stop()
    assert Counter((row["pid"], row["direction"]) for row in rows) == {
        (started.pid, "connect"): 23,
        (worker, "accept"): 23,
    }


def test_a_thread_that_accepts_is_its_process() -> None:
    code = """
server = socket.create_server(("127.0.0.1", 0))
def serve():
    for _ in range(11): server.accept()[0].close()
thread = threading.Thread(target=serve)
thread.start()
for _ in range(11): socket.create_connection(server.getsockname()).recv(1)
thread.join()
"""
    rows, _, pid = connections_of(code)
    assert Counter((row["pid"], row["direction"]) for row in rows) == {
        (pid, "connect"): 11,
        (pid, "accept"): 11,
    }


def test_a_process_that_ends_without_closing_is_still_the_owner() -> None:
    """Killed: the kernel closes its sockets, and each connection is told with its owner."""
    code = """
server = socket.create_server(("127.0.0.1", 0))
held = []
for _ in range(7):
    held.append(socket.create_connection(server.getsockname()))
    held.append(server.accept()[0])
step("open")
"""
    with measured("connections", code) as (started, run):
        assert started.go() == "open"
        started.end()
        rows = records(run, until=lambda found: len(found) >= 14)
        run.stop()
        rows += records(run)
    assert Counter((row["pid"], row["direction"]) for row in rows) == {
        (started.pid, "connect"): 7,
        (started.pid, "accept"): 7,
    }


def test_by_name() -> None:
    """The owner's name, whoever runs when the connection ends."""
    code = "Workload(5, 0, 0).run()"
    rows, batch, _ = connections_of(code, selection={"comm": "no such name"})
    assert rows == []
    assert batch.accounting.filtered >= 10
    with child(code) as started:
        with open(f"/proc/{started.pid}/comm") as file:
            name = file.read().strip()
        with Run(TCP, "connections", selection=Selection(comm=name)) as run:
            started.finish()
            run.stop()
            rows = records(run)
    assert sum(row["pid"] == started.pid for row in rows) == 10
    assert {row["comm"] for row in rows} == {name}


def test_a_port_that_is_used_again_is_another_connection() -> None:
    """Seven connections from one port to one port, each thrown away with a reset: seven, with their own bytes."""
    code = """
with socket.create_server(("127.0.0.1", 0)) as server:
    name = None
    for number in range(7):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(name or ("127.0.0.1", 0))
        name = client.getsockname()
        client.connect(server.getsockname())
        accepted, _ = server.accept()
        client.sendall(bytes(100 + number))
        accepted.recv(1000)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        client.close()
        accepted.close()
"""
    rows, batch, _ = connections_of(code)
    asking = [row for row in rows if row["direction"] == "connect"]
    assert len({row["local_port"] for row in asking}) == 1
    assert sorted(row["sent_bytes"] for row in asking) == [100 + number + 1 for number in range(7)]
    assert sum(row["direction"] == "accept" for row in rows) == 7
    assert batch.accounting.balanced


def test_connections_between_other_network_namespaces_are_seen() -> None:
    """Nobody of ours is in them: both sides are told, with the addresses that hold there."""
    client = "Workload(1, 0, 0)\nfor _ in range(13): socket.create_connection((sys.argv[1], 4711)).recv(1)"
    server = """
with socket.create_server(("", 4711)) as listener:
    step()
    for _ in range(13): listener.accept()[0].close()
"""
    with pair() as wire:
        serving = wire.far.popen(
            sys.executable, "-c", PRELUDE + server, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert serving.stdout is not None
            assert serving.stdout.readline() == "ready\n"
            with Run(TCP, "connections", values={"ports": ("4711",)}) as run:
                asking = wire.near.popen(sys.executable, "-c", PRELUDE + client, wire.far.address)
                serving.communicate("\n", timeout=60)
                assert asking.wait(60) == 0
                rows = records(run, until=lambda found: len(found) >= 26)
                run.stop()
                batch = run.read()
        finally:
            serving.kill()
    assert Counter((row["pid"], row["direction"], row["peer_address"]) for row in rows) == {
        (asking.pid, "connect", wire.far.address): 13,
        (serving.pid, "accept", wire.near.address): 13,
    }
    assert batch.accounting.balanced


def test_a_connect_without_an_answer_times_out_after_its_retransmits() -> None:
    """The other end is down: five SYNs, each sent again once (tcp_syn_retries), as nstat counts them."""
    code = """
sockets = [socket.socket() for _ in range(5)]
for each in sockets:
    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
    each.setblocking(False)
    each.connect_ex((sys.argv[1], 4711))
import select
waiting = select.poll()
for each in sockets: waiting.register(each, select.POLLOUT)
left = set(sockets)
while left:
    for fd, _ in waiting.poll(60000):
        (found,) = [each for each in left if each.fileno() == fd]
        waiting.unregister(found)
        left.remove(found)
"""
    with pair() as wire:
        # Nothing answers and nothing says so: what arrives is for an address that nobody there has.
        wire.far.ip(f"address flush dev {wire.far.interface}")
        before = wire.near.nstat()["TcpRetransSegs"]
        with Run(TCP, "connections", values={"ports": ("4711",)}) as run:
            wire.near.run(sys.executable, "-c", PRELUDE + code, wire.far.address)
            run.stop()
            rows = records(run)
            batch = run.read()
        sent_again = wire.near.nstat()["TcpRetransSegs"] - before
    assert [(row["error"], row["is_established"]) for row in rows] == 5 * [("ETIMEDOUT", False)]
    assert sum(row["retransmits"] for row in rows) == sent_again >= 5
    assert all(row["lifetime_ns"] > 2_000_000_000 for row in rows)
    assert batch.accounting.balanced


def test_each_retransmitted_segment_is_told() -> None:
    """The path is down while data is sent, and comes back: as many as nstat counts in that namespace, where nothing else is."""
    code = """
connection = socket.create_connection((sys.argv[1], 4711))
connection.recv(1)
step("connected")
connection.sendall(bytes(503))
step("sent")
connection.recv(1)
"""
    server = """
with socket.create_server(("", 4711)) as listener:
    step()
    accepted, _ = listener.accept()
    accepted.sendall(b"1")
    left = 503
    while left: left -= len(accepted.recv(left))
    accepted.sendall(b"2")
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with pair() as wire:
        serving = wire.far.popen(sys.executable, "-c", PRELUDE + server, **pipes)
        asking = None
        try:
            assert serving.stdout is not None
            serving.stdout.readline()
            with Run(TCP, "connections", values={"ports": ("4711",)}) as run:
                asking = wire.near.popen(sys.executable, "-c", PRELUDE + code, wire.far.address, **pipes)
                _tell(serving)
                assert asking.stdout is not None
                assert asking.stdout.readline() == "connected\n"
                wire.far.ip(f"address flush dev {wire.far.interface}")
                _tell(asking)
                assert asking.stdout.readline() == "sent\n"
                while wire.near.nstat()["TcpRetransSegs"] < 3:
                    pass
                # The neighbour went with the address.
                wire.far.ip(
                    f"address add {wire.far.address}/24 dev {wire.far.interface}",
                    f"neighbour replace {wire.near.address} lladdr {wire.near.hardware}"
                    f" dev {wire.far.interface} nud permanent",
                )
                _tell(asking)
                assert asking.wait(60) == 0
                assert serving.wait(60) == 0
                rows = records(run, until=lambda found: len(found) >= 2)
                run.stop()
            counted = wire.near.nstat()["TcpRetransSegs"], wire.far.nstat()["TcpRetransSegs"]
        finally:
            for each in (serving, asking):
                if each is not None:
                    each.kill()
    by_direction = {row["direction"]: row for row in rows}
    assert by_direction["connect"]["retransmits"] == counted[0] >= 3
    assert by_direction["accept"]["retransmits"] == counted[1]


def _tell(started: subprocess.Popen[str]) -> None:
    assert started.stdin is not None
    started.stdin.write("\n")
    started.stdin.flush()


def test_tcplife_tells_the_same() -> None:
    """Debian's own tool beside ours, for the same connections: ports, bytes to the KiB, process."""
    tool = shutil.which("tcplife")
    if tool is None:
        pytest.skip("tcplife is missing: apt-get install libbpf-tools")
    with child("Workload(53, 0, 0).run()") as started:
        # It looks for tracefs where it may not be mounted: in a mount namespace of its own it is.
        there = "/sys/kernel/tracing"
        mounting = f'mountpoint -q {there} || mount -t tracefs none {there} && exec "$@"'
        command = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            mounting,
            "sh",
            "stdbuf",
            "-oL",
            tool,
            "-p",
            str(started.pid),
        ]
        other = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert other.stdout is not None
            if not other.stdout.readline():
                pytest.skip(f"tcplife does not run here: {other.stderr.read()}")  # type: ignore[union-attr]
            with Run(TCP, "connections", selection=Selection(pid=started.pid)) as run:
                started.finish()
                run.stop()
                rows = records(run)
            # Ended before it has read them it would not tell of the last ones.
            told = [other.stdout.readline() for _ in rows]
        finally:
            other.terminate()
            more, _ = other.communicate(timeout=60)
    lines = [line.split() for line in [*told, *more.splitlines()] if line.strip()]
    theirs = Counter((int(line[0]), int(line[3]), int(line[5])) for line in lines if line[0].isdigit())
    ours = Counter((row["pid"], row["local_port"], row["peer_port"]) for row in rows)
    assert theirs == ours
    assert len(rows) == 2 * Workload(53).connections
