"""Who processes are: rows of identities from batches of the stream, and from what /proc tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sonde.enrich.inheritance import executables_of_nodes
from sonde.enrich.interned import COUNT_BEFORE_COMPACTING, Interned
from sonde.enrich.process import Processes
from sonde.enrich.process_files import ProcessFile, Told
from sonde.enrich.process_rows import START_BITS, ProcessRows
from sonde.records.accounting import Accounting
from sonde.records.model import Column, RecordBatch, Schema
from sonde.records.retirement import CLOCK_TICK_NS

PID_MAX = 2**22 - 1
SHELL, TRUE = "/usr/bin/dash", "/usr/bin/true"


class Machine:
    """A machine as /proc tells of it, with a clock that tests turn."""

    def __init__(self) -> None:
        self.files: dict[int, ProcessFile] = {}
        self.asked: list[int] = []
        self.now_s = 1000.0

    def add(self, pid: int, start_ns: int, executable: str, *, parent: int = 1, user: int = 0) -> None:
        path = executable.encode(errors="surrogateescape")
        comm = path.rpartition(b"/")[2][:15]
        self.files[pid] = ProcessFile(pid, start_ns // CLOCK_TICK_NS, parent, user, comm, path, b"/a.service")

    def ask(self, pids: Sequence[int]) -> Mapping[int, Told]:
        self.asked += pids
        return {pid: self.files[pid] for pid in pids if pid in self.files}

    def processes(self, **options: Any) -> Processes:
        return Processes(
            self.ask,
            rows=ProcessRows(**options),
            pids=lambda: list(self.files),
            clock_s=lambda: self.now_s,
        )


def record(event: str, pid: int, start_ns: int, **more: Any) -> dict[str, Any]:
    """One record of the stream, as it comes from its enrichers."""
    return {
        "event": event,
        "pid": pid,
        "process_start_ns": start_ns,
        "ppid": 1,
        "parent_start_ns": 5,
        "comm": "x",
        "uid": 0,
        "cgroup_id": 7,
        "hierarchy": 0,
        "is_kernel": False,
        "executable": None,
        **more,
    }


def batch_of(*rows: dict[str, Any], accounting: Accounting | None = None) -> RecordBatch:
    """Make a batch, with the types that the stream's columns have."""
    names = tuple(record("fork", 1, 1))
    texts = {"event", "comm", "executable"}
    columns: dict[str, Any] = {}
    for name in names:
        values = [row[name] for row in rows]
        columns[name] = np.array(values, dtype=object if name in texts else np.uint64)
    columns["executable"] = np.ma.masked_array(
        columns["executable"], [row["executable"] is None for row in rows]
    )
    columns["is_kernel"] = columns["is_kernel"].astype(bool)
    schema = Schema("processes.lifecycle", tuple(map(Column, names)))
    return RecordBatch(schema, columns, accounting or Accounting())


def told_of(processes: Processes, pid: int, start_ns: int) -> dict[str, Any] | None:
    """Look one process up; None where nothing is known."""
    (slot,) = processes.find(np.array([pid], np.uint32), np.array([start_ns], np.uint64))
    rows = processes.rows
    if slot < 0 or not rows.is_known[slot]:
        return None
    number = rows.executable[slot]
    return {
        "executable": processes.executables.values[number] if number >= 0 else None,
        "comm": rows.comm[slot],
        "parent": int(rows.parent[slot]),
        "user": int(rows.user[slot]),
        "place": processes.places.values[rows.place[slot]],
        "living": bool(rows.living[slot]),
    }


def test_a_process_is_what_its_records_say_long_after_its_end() -> None:
    """Fork, exec and exit in one batch: program, name, parent, user and cgroup are known, and that it has ended."""
    processes = Machine().processes()
    processes.take(
        batch_of(
            record("fork", 50, 900, ppid=40, comm="sh"),
            record("exec", 50, 900, ppid=40, comm="true", executable=TRUE, uid=1000),
            record("exit", 50, 900, ppid=1, comm="true", uid=1000),
        )
    )

    expected = {
        "executable": TRUE,
        "comm": "true",
        "parent": 40,
        "user": 1000,
        "place": (0, 7),
        "living": False,
    }
    assert expected == told_of(processes, 50, 900)


def test_a_number_that_is_used_again_is_another_process() -> None:
    """By start, one nanosecond apart."""
    processes = Machine().processes()
    processes.take(
        batch_of(
            record("exec", 50, 900, executable=TRUE),
            record("exit", 50, 900),
            record("exec", 50, 901, executable=SHELL),
        )
    )

    first, second = told_of(processes, 50, 900), told_of(processes, 50, 901)
    assert first is not None
    assert second is not None
    assert (TRUE, False) == (first["executable"], first["living"])
    assert (SHELL, True) == (second["executable"], second["living"])


def test_a_fork_runs_what_its_parent_ran_at_that_moment() -> None:
    """Before and after the parent's exec, over generations within one batch, and from batches before."""
    processes = Machine().processes()
    processes.take(batch_of(record("exec", 10, 100, executable=SHELL)))
    processes.take(
        batch_of(
            record("fork", 11, 110, ppid=10, parent_start_ns=100),
            record("fork", 12, 120, ppid=11, parent_start_ns=110),
            record("exec", 11, 110, ppid=10, executable=TRUE),
            record("fork", 13, 130, ppid=11, parent_start_ns=110),
            record("fork", 14, 140, ppid=13, parent_start_ns=130),
            record("fork", 15, 150, ppid=99, parent_start_ns=1),
        )
    )

    found = {
        pid: told and told["executable"]
        for pid in (11, 12, 13, 14, 15)
        if (told := told_of(processes, pid, pid * 10)) or True
    }
    assert {11: TRUE, 12: SHELL, 13: TRUE, 14: TRUE, 15: None} == found


def one_after_the_other(nodes: list[tuple[int, int, int | None]], before: Mapping[int, int]) -> list[int]:
    """What executables_of_nodes gives, the simple way: event after event."""
    runs = dict(before)
    for process, parent, begun in nodes:
        runs[process] = runs.get(parent, -1) if begun is None else begun
    answer, runs = [], dict(before)
    for process, parent, begun in nodes:
        runs[process] = runs.get(parent, -1) if begun is None else begun
        answer.append(runs[process])
    return answer


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.booleans()), max_size=60))
def test_inheritance_is_what_events_one_after_the_other_give(events: list[tuple[int, int, bool]]) -> None:
    """For any order of forks and execs, though nothing loops over them."""
    before = {process: 100 + process for process in range(7)}
    nodes = [
        (process, parent, at if is_exec else None) for at, (process, parent, is_exec) in enumerate(events)
    ]
    found = executables_of_nodes(
        np.array([node[0] for node in nodes], np.intp),
        np.array([node[1] for node in nodes], np.intp),
        np.array([node[2] is not None for node in nodes], bool),
        np.array([-1 if node[2] is None else node[2] for node in nodes], np.int32),
        np.array([before[node[1]] for node in nodes], np.int32),
    )

    assert one_after_the_other(nodes, before) == found.tolist()


def test_a_chain_of_forks_is_followed_to_its_end() -> None:
    """10,000 generations in one batch, in some fourteen steps."""
    count = 10_000
    at = np.arange(count)
    runs = executables_of_nodes(at, at - 1, at == 0, np.where(at == 0, 5, -1), np.full(count, -1))

    assert {5} == set(runs.tolist())


def test_who_was_there_before_is_told_by_proc() -> None:
    """The first start that names such a process finds it; its children run what it ran."""
    machine = Machine()
    machine.add(10, 1_000_000_123, SHELL, parent=3)
    processes = machine.processes()
    processes.take(batch_of(record("fork", 11, 2_000_000_000, ppid=10, parent_start_ns=1_000_000_123)))

    parent, forked = told_of(processes, 10, 1_000_000_123), told_of(processes, 11, 2_000_000_000)
    assert parent is not None
    assert forked is not None
    assert (SHELL, "dash", 3, "/a.service") == (*map(parent.get, ("executable", "comm", "parent", "place")),)
    assert SHELL == forked["executable"]


def test_who_was_there_before_and_has_ended_is_known() -> None:
    """One that ended before any row named it: its exit has the name, the snapshot the program."""
    machine = Machine()
    machine.add(10, 1_000_000_123, SHELL)
    processes = machine.processes()
    processes.begin()
    del machine.files[10]
    processes.take(batch_of(record("exit", 10, 1_000_000_123, comm="renamed")))

    told = told_of(processes, 10, 1_000_000_123)
    assert told is not None
    assert (SHELL, "renamed", False) == (told["executable"], told["comm"], told["living"])


def test_another_process_of_the_same_number_is_not_taken_for_it() -> None:
    """/proc tells of a process that began a second later: of the one that is asked for nothing is known."""
    machine = Machine()
    machine.add(10, 2_000_000_000, SHELL)
    processes = machine.processes()

    assert told_of(processes, 10, 1_000_000_000) is None
    assert told_of(processes, 10, 2_000_000_000) is not None


def test_who_is_gone_is_asked_for_once() -> None:
    """Rows of ended processes stay in tables: nobody reads /proc for them at every reading."""
    machine = Machine()
    processes = machine.processes()
    processes.begin()
    for _ in range(3):
        machine.now_s += 5
        assert told_of(processes, 77, 1_000) is None

    assert [77] == machine.asked


def test_identities_are_kept_while_they_are_asked_for() -> None:
    """An ended one is forgotten 120 s after it was last wanted, and not before."""
    machine = Machine()
    processes = machine.processes()
    processes.take(batch_of(record("exec", 50, 900, executable=TRUE), record("exit", 50, 900)))
    for _ in range(10):
        machine.now_s += 100
        assert told_of(processes, 50, 900) is not None
    machine.now_s += 130
    processes.take(batch_of(record("fork", 51, 901)))

    assert told_of(processes, 50, 900) is None


def test_the_newest_process_of_a_number_is_the_one_that_began_last() -> None:
    """With neighbours on both sides, also the largest number there is; none where there is none."""
    rows = ProcessRows()
    pids = [49, 50, 50, 51, PID_MAX]
    slots = rows.make(np.array(pids, np.uint32), np.array([9, 7, 8, 1, 3], np.uint64), 0.0).tolist()

    assert [slots[0], slots[2], slots[3], slots[4]] == [rows.newest(pid) for pid in (49, 50, 51, PID_MAX)]
    assert [-1, -1, -1] == [rows.newest(pid) for pid in (48, 52, PID_MAX - 1)]


def test_of_two_processes_that_share_a_key_the_new_one_is_there() -> None:
    """Their starts are 2^42 ns apart, in the same pid: the first is forgotten, and its row is used again."""
    machine = Machine()
    processes = machine.processes(count_max=1)
    processes.take(batch_of(record("exec", 50, 900, executable=SHELL)))
    processes.take(batch_of(record("exec", 50, 900 + 2**START_BITS, executable=TRUE)))

    told = told_of(processes, 50, 900 + 2**START_BITS)
    assert told is not None
    assert (TRUE, 1) == (told["executable"], len(processes.rows))
    assert None is told_of(processes, 50, 900)


def test_memory_is_bounded_whatever_comes() -> None:
    """100,000 processes through 1,000 rows: the living stay, of the ended the latest."""
    machine = Machine()
    processes = machine.processes(count_max=1000)
    processes.take(batch_of(record("exec", 3, 33, executable=SHELL)))
    for first in range(0, 100_000, 500):
        pids = range(1000 + first, 1500 + first)
        machine.now_s += 0.1
        processes.take(
            batch_of(
                *(record("exec", pid, pid, executable=f"/tmp/{pid}") for pid in pids),
                *(record("exit", pid, pid) for pid in pids),
            )
        )

    assert 1000 == len(processes.rows.pid)
    assert len(processes.rows) <= 1000
    assert len(processes.executables) <= 2 * 1000 + 1024
    told = told_of(processes, 3, 33)
    assert told is not None
    assert (SHELL, True) == (told["executable"], told["living"])
    latest = told_of(processes, 100_999, 100_999)
    assert latest is not None
    assert "/tmp/100999" == latest["executable"]


def test_after_a_loss_the_ended_are_ended_and_the_new_are_known() -> None:
    """Records that were lost cannot tell; /proc does, ten seconds after it was last read at the earliest."""
    machine = Machine()
    machine.add(10, 1_000_000_000, SHELL)
    processes = machine.processes()
    processes.take(batch_of(record("exec", 20, 2_000_000_000, executable=TRUE)))
    machine.add(30, 3_000_000_000, "/usr/bin/new")
    machine.now_s += 20
    lost = Accounting(seen=9, lost={"ring_full": 5})
    processes.take(
        batch_of(record("fork", 31, 3_100_000_000, ppid=30, parent_start_ns=3_000_000_000), accounting=lost)
    )

    ended, forked = told_of(processes, 20, 2_000_000_000), told_of(processes, 31, 3_100_000_000)
    assert ended is not None
    assert forked is not None
    assert not ended["living"]
    assert "/usr/bin/new" == forked["executable"]


def test_names_of_any_bytes_are_kept() -> None:
    """Escapes, quotes and bytes that are no UTF-8 are data."""
    machine = Machine()
    hostile = b"/tmp/\x1b[2J\"'\xff\n".decode(errors="surrogateescape")
    machine.add(10, 1_000_000_000, hostile)
    told = told_of(machine.processes(), 10, 1_000_000_000)

    assert told is not None
    assert hostile == told["executable"]


def test_what_no_row_has_any_more_is_forgotten() -> None:
    """Values keep their number while it is used, and get another one when that is said."""
    interned: Interned[str] = Interned()
    numbers = interned.numbers(f"/tmp/{number}" for number in range(COUNT_BEFORE_COMPACTING + 1))
    became = interned.compact(numbers[[3, 5, -1]])

    assert became is not None
    assert ["/tmp/3", "/tmp/5", f"/tmp/{COUNT_BEFORE_COMPACTING}"] == interned.values
    assert [0, 1, 2, -1] == became[[3, 5, COUNT_BEFORE_COMPACTING, -1]].tolist()
    assert interned.compact(np.arange(3)) is None


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 3), st.sampled_from(["fork", "exec", "exit"])),
        max_size=80,
    )
)
def test_lookups_give_what_was_said_last(events: list[tuple[int, int, str]]) -> None:
    """For any order of records of fifteen processes, in batches of any size, names and ends are the latest."""
    processes = Machine().processes()
    latest: dict[tuple[int, int], tuple[str, bool]] = {}
    rows = []
    for at, (pid, start, event) in enumerate(events):
        rows.append(record(event, pid, start, comm=f"n{at}", executable="/x" if event == "exec" else None))
        latest[pid, start] = (f"n{at}", event != "exit")
    for first in range(0, len(rows), 7):
        processes.take(batch_of(*rows[first : first + 7]))

    for (pid, start), expected in latest.items():
        told = told_of(processes, pid, start)
        assert told is not None
        assert expected == (told["comm"], told["living"])
