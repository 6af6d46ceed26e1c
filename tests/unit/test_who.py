"""Attributes of who: names of the semantic conventions on rows of processes, of cgroups, and of nobody."""

from __future__ import annotations

import os
import pwd
import re
import time
from typing import Any

import numpy as np
import pytest

from sonde.enrich.cgroup import Cgroups
from sonde.enrich.process import Processes
from sonde.enrich.process_files import ask_files, process_file
from sonde.enrich.process_rows import ProcessRows
from sonde.enrich.user import Users
from sonde.enrich.who import ATTRIBUTES, Who
from sonde.errors import SondeError
from sonde.records.model import Column, RecordBatch, Schema
from sonde.records.retirement import CLOCK_TICK_NS, boot_clock_offset_ns

CONTAINER = "7be92808767a667f35c8505cbf40d14e931ef6db5b0210329cf193b15ba9d605"
POD = "4f2b7c1a-9d3e-4b6f-8a5c-0e1d2c3b4a59"
PATH = f"/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-containerd-{CONTAINER}.scope"


def batch_of(**columns: Any) -> RecordBatch:
    return RecordBatch(Schema("x.y", tuple(map(Column, columns))), columns)


def own_start_ns() -> int:
    """When this process began, as the kernel's boot clock has it, to the tick."""
    told = process_file(os.getpid())
    assert told is not None
    return told.start_ticks * CLOCK_TICK_NS - boot_clock_offset_ns()


def own_row(**more: Any) -> RecordBatch:
    return batch_of(
        pid=np.array([os.getpid()], np.uint32), process_start_ns=np.array([own_start_ns()], np.uint64), **more
    )


def who(*by: str, **options: Any) -> Who:
    return Who(by=by, cgroups=Cgroups({}), **options)


def test_a_living_process_has_all_that_proc_tells() -> None:
    """Of this process, without any record of it."""
    (row,) = who(*ATTRIBUTES).identify(own_row()).rows()

    path = os.readlink("/proc/self/exe")
    assert path == row["process.executable.path"]
    assert os.path.basename(path) == row["process.executable.name"]
    with open("/proc/self/comm") as file:
        assert file.read().rstrip("\n") == row["process.command"]
    assert pwd.getpwuid(os.geteuid()).pw_name == row["process.owner"]
    assert os.getppid() == row["process.parent_pid"]
    assert os.getpid() == row["process.pid"]
    assert row["process.linux.cgroup"].startswith("0::/")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["process.creation.time"])


def test_only_what_was_asked_for_is_added() -> None:
    """In the order of asking."""
    asked = who("container", "executable")

    assert ("container.id", "process.executable.name") == asked.attributes
    assert ("pid", "process_start_ns", *asked.attributes) == asked.identify(own_row()).schema.names


def test_another_word_is_refused_with_the_nearest() -> None:
    with pytest.raises(SondeError, match=r"did you mean executable\?"):
        Who(by=("executible",))


def test_nobody_is_masked() -> None:
    """A process that is gone, the row of all others, and a batch that is of no process at all."""
    batch = batch_of(
        pid=np.ma.masked_array(np.array([2**22 - 1, 0], np.uint32), mask=[False, True]),
        process_start_ns=np.array([5, 0], np.uint64),
    )
    asked = who("executable", "unit", "pid")
    gone, other = asked.identify(batch).rows(asked.attributes)
    (none,) = asked.identify(batch_of(count=np.array([1]))).rows(asked.attributes)

    assert {"process.executable.name": None, "sonde.systemd.unit": None} == {
        name: gone[name] for name in ("process.executable.name", "sonde.systemd.unit")
    }
    assert 2**22 - 1 == gone["process.pid"]
    assert {None} == set(other.values()) == set(none.values())


def test_a_row_of_a_cgroup_has_container_and_pod() -> None:
    """Without a process; what is of a process only is masked, and so is all of a cgroup that nobody knows."""
    cgroups = Cgroups({0: "/nonexistent"})
    cgroups.learn([(0, 77, PATH), (0, 78, "/system.slice/nginx.service")])
    asked = Who(by=("container", "pod", "unit", "executable"), cgroups=cgroups)
    batch = batch_of(
        cgroup_id=np.array([77, 78, 79, 0], np.uint64),
        hierarchy=np.zeros(4, np.uint32),
        is_other=np.array([False, False, False, True]),
    )

    expected = [
        (CONTAINER, POD, None, None),
        (None, None, "nginx.service", None),
        (None, None, None, None),
        (None, None, None, None),
    ]
    assert expected == [tuple(row.values()) for row in asked.identify(batch).rows(asked.attributes)]


def test_a_thread_of_the_kernel_is_in_brackets() -> None:
    """It has no executable."""
    if process_file(2) is None or (process_file(2) or [b""] * 6)[4] != b"kthreadd":
        pytest.skip("a pid namespace shows no threads of the kernel")
    told = process_file(2)
    assert told is not None
    start_ns = told.start_ticks * CLOCK_TICK_NS - boot_clock_offset_ns()
    batch = batch_of(pid=np.array([2], np.uint32), process_start_ns=np.array([start_ns], np.uint64))
    (row,) = who("executable", "path").identify(batch).rows()

    assert ("[kthreadd]", None) == (row["process.executable.name"], row["process.executable.path"])


def test_a_series_of_an_ended_process_has_ended() -> None:
    """By number and birthday; a series of no process has not."""
    asked = who("pid")
    (row,) = asked.identify(own_row()).rows(asked.attributes)

    assert not asked.has_ended(row)
    assert not who("pid").has_ended(row), "asked of one that has not seen it"
    assert asked.has_ended({**row, "process.creation.time": "2001-01-01T00:00:00.000Z"})
    assert not asked.has_ended({"process.executable.name": "x"})


def test_the_birthday_does_not_move_with_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set while we watch does not split a process's series."""
    asked = who("pid")
    (before,) = asked.identify(own_row()).rows(asked.attributes)
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3600 * 10**9)
    (after,) = asked.identify(own_row()).rows(asked.attributes)

    assert before == after


def test_ten_thousand_rows_take_few_milliseconds() -> None:
    """Names are made for each different executable and cgroup, not for each row: their count is what counts."""
    processes = Processes(ask_files, rows=ProcessRows(count_max=16_384), pids=list)
    pid, start = np.arange(1, 10_001, dtype=np.uint32), np.arange(1, 10_001, dtype=np.uint64)
    processes.begin()
    slots = processes.rows.make(pid, start, 0.0)
    processes.rows.is_known[slots] = True
    processes.rows.executable[slots] = processes.executables.number("/usr/bin/x")
    processes.rows.place[slots] = processes.places.number(PATH)
    asked = Who(by=("executable", "container"), processes=processes, cgroups=Cgroups({}))
    identified = asked.identify(batch_of(pid=pid, process_start_ns=start))

    assert {"x"} == set(identified["process.executable.name"].tolist())
    assert {CONTAINER} == set(identified["container.id"].tolist())
    names = identified["container.id"].tolist()
    assert all(name is names[0] for name in names), "one text, pointed to by all"


def test_users_are_asked_for_once_and_bounded() -> None:
    """A name holds for ten minutes, its absence for one; of many users the latest are remembered."""
    now, asked = [0.0], list[int]()

    def ask(uid: int) -> str | None:
        asked.append(uid)
        return "alice" if uid == 1000 else None

    users = Users(ask, count_max=2, clock_s=lambda: now[0])
    assert ["alice", "4711", "alice"] == [users.name(uid) for uid in (1000, 4711, 1000)]
    now[0] = 61.0
    assert ["alice", "4711"] == [users.name(uid) for uid in (1000, 4711)]
    now[0] = 601.0
    assert "alice" == users.name(1000)
    assert [1000, 4711, 4711, 1000] == asked
    users.name(5), users.name(6)
    users.name(1000)
    assert 7 == len(asked)


def test_a_hostile_name_survives() -> None:
    """From /proc to the attribute, byte by byte; sinks escape it."""
    processes = Processes(ask_files, pids=list)
    processes.begin()
    path = b'/tmp/\x1b[31m\xff"\n'.decode(errors="surrogateescape")
    slots = processes.rows.make(np.array([9], np.uint32), np.array([9], np.uint64), 0.0)
    processes.rows.is_known[slots] = True
    processes.rows.executable[slots] = processes.executables.number(path + " (deleted)")
    asked = Who(by=("executable", "path"), processes=processes, cgroups=Cgroups({}))
    batch = batch_of(pid=np.array([9], np.uint32), process_start_ns=np.array([9], np.uint64))
    (row,) = asked.identify(batch).rows(asked.attributes)

    assert b'\x1b[31m\xff"\n' == os.fsencode(row["process.executable.name"])
    assert path == row["process.executable.path"]


def test_who_cannot_be_told_just_now_is_asked_for_again() -> None:
    """The loader may be stopped for a while: a process that lives has its name afterwards."""
    answers = iter([None, None, None])
    asked = who("executable", processes=Processes(lambda pids: next(answers, ask_files(pids))))
    (row,) = asked.identify(own_row()).rows()
    assert row["process.executable.name"] is None
    for _ in range(3):
        (row,) = asked.identify(own_row()).rows()

    assert os.path.basename(os.readlink("/proc/self/exe")) == row["process.executable.name"]
