"""Perf events: on every CPU or one, in every process or one with all its threads."""

from __future__ import annotations

import mmap
import os
import threading
import time
from pathlib import Path

import pytest

from kernel.hook_cases import compute
from kernel.hook_objects import (
    HOOKS,
    MADV_NOHUGEPAGE,
    STAGE,
    attach,
    load,
)
from sonde.bpf.hooks import (
    PerfEvent,
)
from sonde.bpf.link.perf_event import online_cpus
from sonde.bpf.link.perf_source import count_of, stopped_events
from sonde.errors import AttachError, NotSupportedError


def test_perf_event_is_one_link_over_every_cpu() -> None:
    online = os.sysconf("SC_NPROCESSORS_ONLN")
    loaded, link = attach(HOOKS, "at_perf_event", PerfEvent(frequency=99))
    with loaded:
        assert len(link.descriptors) == online


def test_perf_event_on_one_cpu_is_one_event() -> None:
    loaded, link = attach(HOOKS, "at_perf_event", PerfEvent(frequency=99, cpu=0))
    with loaded:
        assert len(link.descriptors) == 1


def test_perf_event_of_a_process_sees_threads_that_start_later() -> None:
    loaded, _ = attach(HOOKS, "at_perf_event", PerfEvent(frequency=999, pid=os.getpid()))
    with loaded:
        worker = threading.Thread(target=lambda: compute(STAGE, _, 1))
        worker.start()
        worker.join()
        in_thread = loaded.variables["runs"].value
        time.sleep(0.2)
        assert in_thread > 10
        assert loaded.variables["runs"].value - in_thread < in_thread


def test_perf_event_by_period_runs_once_for_so_many() -> None:
    """Page faults are counted by number: each hundredth of this process runs the program."""
    loaded, _ = attach(HOOKS, "at_perf_event", PerfEvent("page-faults", period=100, pid=os.getpid()))
    with loaded:
        pages, page = 2000, mmap.PAGESIZE
        with mmap.mmap(-1, pages * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.madvise(MADV_NOHUGEPAGE)
            for at in range(0, len(memory), page):
                memory[at] = 1
        assert loaded.variables["runs"].value >= pages // 100


def test_hardware_event_works_or_says_that_there_are_no_counters() -> None:
    loaded = load(HOOKS, "at_perf_event")
    with loaded:
        if Path("/sys/bus/event_source/devices/cpu").exists():
            link = loaded.programs["at_perf_event"].attach(PerfEvent("cycles", period=1_000_003))
            compute(STAGE, link, 1)
            assert loaded.variables["runs"].value > 0
        else:
            with pytest.raises(NotSupportedError, match=r"does not count it.*or the event cpu-clock"):
                loaded.programs["at_perf_event"].attach(PerfEvent("cycles", period=1_000_003))


def test_perf_event_says_what_is_wrong() -> None:
    with load(HOOKS, "at_perf_event") as loaded:
        program = loaded.programs["at_perf_event"]
        with pytest.raises(
            AttachError, match=r"the frequency is too high: the kernel allows [0-9]+ a second"
        ):
            program.attach(PerfEvent(frequency=10_000_000))
        with pytest.raises(AttachError, match="there is no such process"):
            program.attach(PerfEvent(pid=2**22 + 1))
        with pytest.raises(AttachError, match="CPU 4095 is not online: online are 0"):
            program.attach(PerfEvent(cpu=4095))
        assert loaded.links == []


def test_only_an_event_whose_time_stands_still_has_stopped() -> None:
    """Each CPU's goes on while it is enabled, whether the CPU has something to do or not; a disabled one's does not."""
    with load(HOOKS, "at_perf_event") as loaded:
        program, hook = loaded.programs["at_perf_event"], PerfEvent(period=1_000_000_000)
        attached = [event for cpu in online_cpus() if (event := hook.attach_disabled(program, cpu))]
        events = {each.event for each in attached}
        try:
            assert stopped_events(events) == events
            assert all(count_of(event).enabled_ns == 0 for event in events)
            for each in attached:
                each.enable()
            for _ in range(100):
                assert stopped_events(events) == set()
            attached[0].disable()
            assert stopped_events(events) == {attached[0].event}
            attached[0].enable()
            assert stopped_events(events) == set()
        finally:
            for each in attached:
                each.detach()
