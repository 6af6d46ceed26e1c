"""The document's collector, sections 1.3.2 and 1.3.3: counted to the last call, and nothing left behind."""

from __future__ import annotations

import gc
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel.plain import example, shape
from kernel.workload import Calls, assert_counted, stopped
from sonde import Collector, Object
from sonde._libbpf import lib
from sonde.errors import AttachError, KernelError, SondeError, UnsafeObjectError

SPELLINGS = {
    "bare": "sys_enter_{}",
    "with its group": "syscalls/sys_enter_{}",
}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


@pytest.fixture
def calls() -> Iterator[Calls]:
    with stopped(Calls()) as made:
        yield made


def by_syscall(collector: Collector, pid: int) -> dict[str, int]:
    stats = collector.syscall_stats(by_syscall=True)
    return {name: count for (key, name), count in stats.items() if key == pid}


def assert_each_counted(collector: Collector, pid: int, expected: dict[str, int]) -> None:
    """These calls of a process and no others are counted, each by its name, and their sum for the process."""
    counted = by_syscall(collector, pid)
    assert counted.keys() == expected.keys()
    assert all(counted[name] <= count for name, count in expected.items())
    assert_counted(sum(counted.values()), sum(expected.values()), counting(collector))
    assert collector.syscall_stats()[pid] == sum(counted.values())


def counting(collector: Collector) -> Object:
    """What the collector counts with: the loaded object, or sonde's own probe's."""
    return collector.loaded if collector._run is None else collector._run.loaded


# ---- counting -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_document_s_steps_count_every_call(collector: Collector, calls: Calls, spelling: str) -> None:
    """Load the document's program, attach it to four tracepoints, read the counts (8 threads)."""
    collector.load(example("trace_syscall"))
    for name in calls.expected:
        collector.attach_tracepoint(SPELLINGS[spelling].format(name))
    calls.run()
    assert_each_counted(collector, calls.pid, calls.expected)


def test_trace_syscalls_attaches_the_loaded_program_to_the_document_s_four(
    collector: Collector, calls: Calls
) -> None:
    collector.load(example("trace_syscall"))
    collector.trace_syscalls()
    assert [str(link.hook) for link in collector.loaded.links] == [
        f"tracepoint:syscalls/sys_enter_{name}" for name in ("openat", "read", "write", "connect")
    ]
    calls.run()
    assert_each_counted(collector, calls.pid, calls.expected)


def test_trace_syscalls_without_an_object_uses_sonde_s_own_probe(collector: Collector, calls: Calls) -> None:
    collector.trace_syscalls()
    calls.run()
    assert_each_counted(collector, calls.pid, calls.expected)


@pytest.mark.parametrize("loads", [True, False])
def test_only_the_named_calls_are_counted_and_others_later(
    collector: Collector, calls: Calls, *, loads: bool
) -> None:
    """A second call of trace_syscalls counts other calls in the place of the former."""
    if loads:
        collector.load(example("trace_syscall"))
    collector.trace_syscalls(["write"])
    collector.trace_syscalls(["read", "connect"])
    calls.run()
    expected = {name: calls.expected[name] for name in ("read", "connect")}
    assert_each_counted(collector, calls.pid, expected)


def test_counts_grow_while_they_are_read(collector: Collector) -> None:
    """Reading takes nothing away: the counts are cumulative."""
    few = [Calls(threads=2, openat=101, read=0, write=0, connect=0) for _ in range(3)]
    with stopped(few[0]), stopped(few[1]), stopped(few[2]):
        collector.trace_syscalls()
        for at, calls in enumerate(few):
            calls.run()
            for _ in range(2):
                stats = collector.syscall_stats()
                for each in few[: at + 1]:
                    assert_counted(stats[each.pid], 202, counting(collector))


def test_what_finds_the_map_full_is_counted_as_other(collector: Collector, calls: Calls) -> None:
    loaded = collector.load(example("trace_syscall"))
    counts: Any = loaded.maps["syscall_count"]
    for number in range(counts.max_entries):
        counts[{"pid": 1 << 30, "syscall": number}] = 0
    collector.attach_tracepoint("sys_enter_connect")
    calls.run()
    # Other processes' calls are there, too.
    other = collector.syscall_stats()[0]
    assert collector.syscall_stats(by_syscall=True)[0, "other"] >= other
    assert_counted(min(other, calls.expected["connect"]), calls.expected["connect"], loaded)
    assert calls.pid not in collector.syscall_stats()


def test_keys_without_the_call_are_counted_by_process(collector: Collector, calls: Calls) -> None:
    """The document's map has the pid alone for its key; then nobody can tell read from openat."""
    collector.load(example("trace_syscall_openat_safe"))
    collector.attach_tracepoint("sys_enter_openat")
    calls.run()
    assert_counted(collector.syscall_stats()[calls.pid], calls.expected["openat"], collector.loaded)
    with pytest.raises(SondeError, match="the keys of map syscall_count hold none"):
        collector.syscall_stats(by_syscall=True)


# ---- attaching ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sys_enter_opneat", "syscalls/sys_enter_opneat"])
def test_unknown_tracepoint_names_the_nearest(collector: Collector, name: str) -> None:
    collector.load(example("trace_syscall"))
    with pytest.raises(AttachError, match="no such tracepoint") as caught:
        collector.attach_tracepoint(name)
    nearest = str(caught.value).partition("the nearest are ")[2]
    assert nearest.split(", ")[0] == name.replace("opneat", "openat")
    assert collector.loaded.links == []


def test_unknown_call_attaches_none_of_them(collector: Collector) -> None:
    collector.load(example("trace_syscall"))
    with pytest.raises(AttachError, match="sys_enter_opneat"):
        collector.trace_syscalls(["read", "opneat"])
    assert collector.loaded.links == []


def test_unknown_call_leaves_the_probe_as_it_was(collector: Collector, calls: Calls) -> None:
    collector.trace_syscalls(["read"])
    with pytest.raises(SondeError, match="opneat"):
        collector.trace_syscalls(["opneat"])
    calls.run()
    assert_each_counted(collector, calls.pid, {"read": calls.expected["read"]})


def test_program_is_found_by_name_by_section_or_because_it_is_the_only_one(collector: Collector) -> None:
    collector.load(shape("many_types"))
    assert collector.attach_tracepoint("sys_enter_getppid").program.name == "on_tracepoint"
    assert collector.attach_tracepoint("sys_enter_getpid", "on_tracepoint").program.name == "on_tracepoint"
    with pytest.raises(AttachError, match="the object has no program nobody"):
        collector.attach_tracepoint("sys_enter_getpid", "nobody")
    collector.load(example("network_monitor"))
    with pytest.raises(AttachError, match="the object has no tracepoint programs"):
        collector.attach_tracepoint("sys_enter_getpid")


# ---- loading and closing ------------------------------------------------------------------------------------


def ids(loaded: Object) -> dict[str, list[int]]:
    return {
        "prog": [each.id for each in loaded.programs.values()],
        "map": [each.id for each in loaded.maps.values()],
        "link": [link.id for link in loaded.links if link.id is not None],
    }


def gone(numbers: dict[str, list[int]]) -> bool:
    """Whether the kernel has none of these any more; it frees them after a grace period."""
    openers: dict[str, Callable[[int], int]] = {
        "prog": lib.bpf_prog_get_fd_by_id,
        "map": lib.bpf_map_get_fd_by_id,
        "link": lib.bpf_link_get_fd_by_id,
    }
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        fds = [openers[kind](number) for kind, each in numbers.items() for number in each]
        for fd in fds:
            if fd >= 0:
                os.close(fd)
        if all(fd < 0 for fd in fds):
            return True
        time.sleep(0.02)
    return False


def descriptors() -> set[str]:
    return {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_bpf(fd)}


def _is_bpf(fd: str) -> bool:
    try:
        return "bpf" in os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return False


def test_loading_again_closes_the_object_before(collector: Collector) -> None:
    first = collector.load(example("trace_syscall"))
    collector.trace_syscalls()
    numbers = ids(collector.loaded)
    assert numbers["prog"]
    assert numbers["map"]
    second = collector.load(example("trace_syscall_openat_safe"))
    assert first.closed
    assert collector.loaded is second
    assert gone(numbers)
    assert second.links == []


def test_loading_ends_what_the_probe_counted(collector: Collector) -> None:
    """The collector counts one thing at a time."""
    collector.trace_syscalls()
    collector.load(example("trace_syscall"))
    assert collector.syscall_stats() == {}


def test_a_load_that_fails_leaves_the_object_before(collector: Collector, tmp_path: Path) -> None:
    first = collector.load(example("trace_syscall"))
    rejected = tmp_path / "unsafe.bpf.o"
    shutil.copyfile(example("trace_syscall"), rejected)
    rejected.chmod(0o666)
    with pytest.raises(UnsafeObjectError, match="chmod"):
        collector.load(rejected)
    with pytest.raises(SondeError):
        collector.load(tmp_path / "nowhere.bpf.o")
    with pytest.raises(KernelError):
        collector.load(shape("replacement"))
    assert collector.loaded is first
    assert not first.closed


def test_the_document_s_own_rule_for_permissions(collector: Collector, tmp_path: Path) -> None:
    """The document refuses any permission for group and others: ``strict``."""
    readable = tmp_path / "readable.bpf.o"
    shutil.copyfile(example("trace_syscall"), readable)
    readable.chmod(0o644)
    collector.load(readable)
    with pytest.raises(UnsafeObjectError, match="chmod") as caught:
        collector.load(readable, strict=True)
    assert caught.value.cause == "mode"
    readable.chmod(0o600)
    collector.load(readable, strict=True)


@pytest.mark.parametrize("loads", [True, False])
def test_close_leaves_nothing(*, loads: bool) -> None:
    gc.collect()
    before = descriptors()
    with Collector() as collector:
        if loads:
            collector.load(example("trace_syscall"))
        collector.trace_syscalls()
        numbers = ids(collector.loaded if loads else collector._run.loaded)
        assert numbers["prog"]  # links have numbers only since Linux 5.15
        assert numbers["map"]
    assert gone(numbers)
    assert descriptors() == before
    collector.close()
    with pytest.raises(SondeError):
        collector.syscall_stats()


@pytest.mark.parametrize("names", [["getppid", 3], None, [], 3, b"getppid"])
def test_what_is_no_name_of_a_call_is_said_in_words(collector: Collector, names: Any) -> None:
    with pytest.raises(SondeError, match=r"is no name of a system call: give names"):
        collector.trace_syscalls(names)


def test_one_call_needs_no_list(collector: Collector, calls: Calls) -> None:
    collector.trace_syscalls("read")
    calls.run()
    assert_each_counted(collector, calls.pid, {"read": calls.expected["read"]})


@pytest.mark.parametrize("path", [3, None, b"x"])
def test_what_is_no_path_is_said_in_words(collector: Collector, path: Any) -> None:
    with pytest.raises(SondeError, match=r"is no path: give that of a \.bpf\.o file"):
        collector.load(path)


def test_nothing_traced_is_said_in_words(collector: Collector) -> None:
    with pytest.raises(SondeError, match="none is loaded"):
        collector.syscall_stats()
    collector.load(example("network_monitor"))
    with pytest.raises(SondeError, match=r"no map syscall_count: call trace_syscalls\(\)"):
        collector.syscall_stats()
