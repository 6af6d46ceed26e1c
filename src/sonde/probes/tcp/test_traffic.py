"""The tables of the probe ``tcp`` while connections are open: nothing counts twice, nothing is missing."""

from __future__ import annotations

import os
import re
import select
import subprocess

import pytest

from kernel.network import settle
from sonde.probe import Selection
from sonde.probes.tcp.child import TCP, child, measured, total
from sonde.probes.tcp.workload import Workload
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]

OPEN = """
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
accepted, _ = server.accept()
def send(count):
    client.sendall(bytes(count))
    while count:
        count -= len(accepted.recv(count))
"""


def test_bytes_of_an_open_connection_show_while_it_runs() -> None:
    """Each read has what was sent until then, once; the end adds only the FINs."""
    code = f"{OPEN}\nfor _ in range(3):\n    send(10007); step()\nclient.shutdown(1); accepted.recv(1); accepted.close(); client.recv(1); client.close()"
    with measured("processes", code) as (started, run):
        for turn in range(1, 4):
            assert started.go() == "ready"
            (row,) = run.read().rows()
            assert (row["connects"], row["accepts"], row["closed"]) == (1, 1, 0)
            assert row["received_bytes"] == 10007 * turn
            # The SYN is one more, and acknowledgements may be on their way.
            assert row["sent_bytes"] <= 10007 * turn + 1
            assert row["rtt_ns"] > 0
        started.finish()
        run.stop()
        batch = run.read()
    (row,) = batch.rows()
    assert (row["sent_bytes"], row["received_bytes"], row["closed"]) == (3 * 10007 + 3, 3 * 10007 + 2, 2)
    assert batch.accounting.balanced, str(batch.accounting)


@pytest.mark.parametrize("output", ["processes", "peers"])
def test_reading_all_the_time_while_connections_come_and_go_counts_each_once(output: str) -> None:
    """Four threads' storms meet the walks of a reader that never rests: the sums are exact.

    Where programs can be preempted (Linux 7.x) the kernel skips others on that CPU meanwhile, and says how often. Whose
    begin was skipped is `older`, and what it had carried by then is nobody's.
    """
    code = """
threads = [threading.Thread(target=Workload(211, 11, 7).run) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
step("done")
"""
    expected = Workload(4 * 211, 4 * 11, 4 * 7)
    with measured(output, code) as (started, run):
        assert started.process.stdout is not None
        started.tell()
        waiting = select.poll()
        waiting.register(started.process.stdout, select.POLLIN)
        reads, before = 0, 0
        while not waiting.poll(0):
            received = total(list(run.read().rows()), "received_bytes")
            assert received >= before
            before, reads = received, reads + 1
        settle()
        run.stop()
        batch = run.read()
        skipped = sum(program.recursion_misses for program in run.loaded.programs.values())
    rows = list(batch.rows())
    # An emulated machine takes its time for the first one.
    assert reads > 0
    begun, ended = 4 * (211 + 11 + 7) + 4 * (211 + 7), sum(expected.ends.values())
    found = {name: total(rows, name) for name in ("connects", "accepts", "older", "closed", "failed")}
    assert found["older"] <= skipped
    assert begun - skipped <= found["connects"] + found["accepts"] + found["older"] <= begun
    assert ended - skipped <= found["closed"] <= ended
    assert 4 * 11 - skipped <= found["failed"] <= 4 * 11
    for name, made in (("sent_bytes", expected.sent_bytes), ("received_bytes", expected.received_bytes)):
        assert made - skipped * (expected.response_bytes + 3) <= total(rows, name) <= made
    if not skipped:
        assert (found["connects"], found["accepts"]) == (4 * (211 + 11 + 7), 4 * (211 + 7))
    assert batch.accounting.balanced, str(batch.accounting)


def test_what_is_open_at_the_stop_has_its_bytes_until_then() -> None:
    with measured("processes", f"{OPEN}\nsend(1009); step(); send(1)") as (started, run):
        started.go()
        run.stop()
        (row,) = run.read().rows()
        assert row["received_bytes"] == 1009
        started.finish()
        (row,) = run.read().rows()
        assert row["received_bytes"] == 1009


def test_the_differences_of_reads_add_up() -> None:
    """As the agent reads: each read has what came since the one before."""
    code = f"{OPEN}\nfor _ in range(3):\n    send(503); step()"
    with measured("processes", code, differences=True) as (started, run):
        received = []
        for _ in range(3):
            started.go()
            received.append(total(list(run.read().rows()), "received_bytes"))
        run.stop()
        batch = run.read()
    assert received == [503, 503, 503]
    assert batch.accounting.aggregated == 2
    assert batch.accounting.balanced, str(batch.accounting)


def test_a_connection_from_before_counts_from_now_on() -> None:
    """Its owner is found, its bytes before the start are not ours, its end is told without a lifetime."""
    code = f"{OPEN}\nsend(100003); step(); send(1009); step()\nclient.shutdown(1); accepted.recv(1); accepted.close(); client.recv(1); client.close()"
    with child(code) as started:
        started.go()
        selection = Selection(pid=started.pid)
        with (
            Run(TCP, "processes", selection=selection) as table,
            Run(TCP, selection=selection, output="connections") as run,
        ):
            (row,) = table.read().rows()
            assert (row["older"], row["connects"], row["accepts"], row["received_bytes"]) == (2, 0, 0, 0)
            started.go()
            started.finish()
            table.stop()
            run.stop()
            (row,) = table.read().rows()
            rows = list(run.read().rows())
    assert (row["older"], row["closed"]) == (2, 2)
    assert row["received_bytes"] == 1009 + 2
    assert [(each["begun_before"], each["lifetime_ns"], each["latency_ns"]) for each in rows] == 2 * [
        (True, None, None)
    ]
    assert sorted(each["received_bytes"] for each in rows) == [1, 1009 + 1]
    assert {each["pid"] for each in rows} == {started.pid}


def _shown_by_ss(port: str) -> dict[str, str]:
    command = ["ss", "-tinHO", "sport", "=", f":{port}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r"(bytes_acked|bytes_received|rtt):([\d.]+)", shown))


def test_open_connections_agree_with_ss() -> None:
    """Bytes and retransmits of an open connection are those that ``ss -ti`` shows, read from the same counters."""
    code = f"{OPEN}\nsend(65537); step(str(client.getsockname()[1])); step()"
    with measured("peers", code) as (started, run):
        port = started.go()
        before, fields = {"": ""}, _shown_by_ss(port)
        # Until nothing moves: the last acknowledgement may be late.
        while before != fields:
            before = fields
            by_direction = {row["direction"]: row for row in run.read().rows()}
            fields = _shown_by_ss(port)
    row = by_direction["connect"]
    assert row["sent_bytes"] == int(fields["bytes_acked"]) == 65537 + 1
    assert row["received_bytes"] == int(fields.get("bytes_received", 0)) == 0
    # ss writes milliseconds, the table is the mean over its reads.
    assert row["rtt_ns"] > 0
    assert float(fields["rtt"]) > 0
