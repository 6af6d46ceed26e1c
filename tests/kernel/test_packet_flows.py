"""The table flows when it gets full: nothing is lost, whether rows find no room or leave while their packets keep coming."""

from __future__ import annotations

import itertools
import os
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable

from sonde.bpf import Object
from sonde.probes.packets.measured import loaded, passed
from sonde.probes.packets.workload import IPV4, UDP, frame, ipv4, udp
from sonde.records.model import RecordBatch
from sonde.run.reading import Reading

ROOM = 64
REPEAT = 10_007
PATIENCE_S = 60


def flow(port: int) -> bytes:
    return frame(IPV4, ipv4(UDP, udp(port, 53)))


def packets_of(batch: RecordBatch) -> Counter[int | None]:
    """Give packets by source port; those of the row ``other`` under None."""
    found: Counter[int | None] = Counter()
    for row in batch.rows():
        found[None if row["is_other"] else row["source_port"]] += row["packets"]
    return found


def test_what_finds_no_room_is_in_other() -> None:
    """64 rows, 101 flows with as many packets as their port: 64 are told exactly, the others add up to the rest."""
    ports = range(1, 102)
    with loaded("flows", max_entries=ROOM) as (made, reading):
        for port in ports:
            passed(made, "flows_xdp", [flow(port)] * port)
        batch = reading.read()

    found = packets_of(batch)
    other = found.pop(None)
    assert len(found) == ROOM
    assert all(found[port] == port for port in found)
    assert sum(ports) - sum(found.values()) == other
    assert batch.accounting.seen == batch.accounting.aggregated == sum(ports)


def test_no_row_leaves_while_there_is_room() -> None:
    """Half of the rows may be idle for ever: they stay in the kernel."""
    with loaded("flows", max_entries=ROOM) as (made, reading):
        passed(made, "flows_xdp", [flow(port) for port in range(1, ROOM // 2)])
        for _ in range(3):
            batch = reading.read()
        assert len(made.maps["flows"]) == ROOM // 2 - 1
    assert batch.accounting.balanced


def test_idle_rows_make_room_and_stay_known() -> None:
    """Ten times as many flows as there is room, one after the other: with reads in between each is told."""
    with loaded("flows", max_entries=ROOM) as (made, reading):
        for port in range(1, 10 * ROOM):
            passed(made, "flows_xdp", [flow(port)] * 3)
            if port % 16 == 0:
                reading.read()
        batch = reading.read()

    assert dict.fromkeys(range(1, 10 * ROOM), 3) == packets_of(batch)
    assert batch.accounting.balanced, str(batch.accounting)


def test_a_row_that_comes_back_is_one_row() -> None:
    """Packets before and after its retirement add up; its first time stays, its last moves on."""
    with loaded("flows", max_entries=ROOM) as (made, reading):
        passed(made, "flows_xdp", [flow(port) for port in range(1, ROOM)])
        first = {row["source_port"]: row for row in reading.read().rows()}
        reading.read()
        assert len(made.maps["flows"]) == 0, "all were idle"
        passed(made, "flows_xdp", [flow(port) for port in range(1, ROOM)] * 2)
        rows = {row["source_port"]: row for row in reading.read().rows()}

    assert set(rows) == set(first)
    for port, row in rows.items():
        assert row["packets"] == 3
        assert row["first_ns"] == first[port]["first_ns"]
        assert row["last_ns"] >= first[port]["last_ns"]


def test_cells_of_rows_that_left_are_not_remembered() -> None:
    """A CPU that counted a flow last counts it in its new row, and not in the cell that another flow has by now."""
    with loaded("flows", max_entries=ROOM) as (made, reading):
        for _ in range(2):
            passed(made, "flows_xdp", [flow(port) for port in range(1, 40)])
            reading.read()
            reading.read()
            assert len(made.maps["flows"]) == 0, "all were idle"
            passed(made, "flows_xdp", [flow(port) for port in range(1000, 1000 + ROOM // 3)] * 5)
        passed(made, "flows_xdp", [flow(1)] * 11)
        found = packets_of(reading.read())

    assert found.pop(1) == 2 + 11
    assert dict.fromkeys(range(2, 40), 2) | dict.fromkeys(range(1000, 1000 + ROOM // 3), 10) == found


def under_traffic(
    made: Object,
    ports: range,
    rounds: int,
    meanwhile: Callable[[], None],
    *,
    enough: Callable[[], bool] = lambda: True,
) -> int:
    """Run a thread on each of two CPUs that sends packets of all flows, until it is ``enough``, and something else meanwhile.

    Gives how many packets were sent.
    """
    cpus = sorted(os.sched_getaffinity(0))[:2]
    failures: list[BaseException] = []
    sent: list[int] = []
    deadline = time.monotonic() + PATIENCE_S

    def send(cpu: int) -> None:
        try:
            os.sched_setaffinity(0, {cpu})
            number = 0
            while number < rounds or not (enough() or time.monotonic() > deadline):
                # Each flow rests for most of the time, so that it is idle at some reads and busy at others.
                data = flow(ports[(number * 7) % len(ports)])
                made.programs["flows_xdp"].test_run(data, repeat=REPEAT)
                number += 1
            sent.append(number * REPEAT)
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            failures.append(error)

    threads = [threading.Thread(target=send, args=(cpu,)) for cpu in cpus]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        meanwhile()
    for thread in threads:
        thread.join()
    assert not failures
    return sum(sent)


def test_retirement_loses_nothing_under_traffic() -> None:
    """Two CPUs send packets of 61 flows without a pause, while rows are read and retired as fast as that goes."""
    sizes: list[int] = []
    with loaded("flows", max_entries=ROOM) as (made, reading):

        def read() -> None:
            sizes.append(len(made.maps["flows"]))
            reading.read()

        def were_retired() -> bool:
            return any(later < earlier for earlier, later in itertools.pairwise(sizes[:]))

        sent = under_traffic(made, range(1, 62), 307, read, enough=were_retired)
        batch = reading.read()

    assert were_retired()
    assert sent == sum(row["packets"] for row in batch.rows()) == batch.accounting.seen
    assert sum(row["bytes"] for row in batch.rows()) == sent * len(flow(1))


def test_differences_add_up_under_traffic() -> None:
    """What the agent gets, read by read, adds up to what was sent, though rows leave and come back."""
    added: Counter[int | None] = Counter()
    with loaded("flows", max_entries=ROOM) as (made, reading):
        differing = Reading(made_probe(), reading.output, made, values={}, differences=True)

        def read() -> None:
            for port, packets in packets_of(differing.read()).items():
                assert packets < 1 << 62, "no count goes back"
                added[port] += packets

        sent = under_traffic(made, range(1, 62), 151, read)
        read()
        last = differing.read()

    assert sent == sum(added.values())
    assert sent == last.accounting.aggregated == last.accounting.seen


def made_probe() -> object:
    from sonde.probes import probe

    return probe("packets")


def test_full_protocols_go_to_the_hash_and_to_other() -> None:
    """More EtherTypes than there are slots and rows: each is told or in ``other``, and all add up."""
    kinds = range(0x0700, 0x0700 + 4500, 1)
    frames = [struct.pack("!6s6sH", bytes(6), bytes(6), kind) + bytes(46) for kind in kinds if kind != 0x800]
    with loaded("protocols") as (made, reading):
        ran = passed(made, "protocols_xdp", frames)
        batch = reading.read()

    told = [row for row in batch.rows() if not row["is_other"]]
    (other,) = [row["packets"] for row in batch.rows() if row["is_other"]]
    assert all(row["packets"] == 1 for row in told)
    assert len(told) + other == len(ran) == batch.accounting.seen == batch.accounting.aggregated
    assert len(told) > 4096
