"""The document's ProfileCPU (§1.3.5): it samples every CPU, tells every second, and ends when it should."""

from __future__ import annotations

import math
import os
import time
from typing import Any

import pytest

from kernel.sonde_process import busy
from sonde import Collector
from sonde.bpf.link.perf_event import online_cpus
from sonde.errors import KnobError, SondeError
from sonde.records.performance import PerformanceStats

SPIN = "while True: pass"
HOT = "data = bytes(1 << 24)\nwhile True: data.count(b'x')"
"""It is in a few instructions nearly all the time: each place that a sample finds it in is a stack of its own."""


def adds_up(stats: PerformanceStats) -> bool:
    return stats.expected == stats.samples + stats.idle + stats.filtered + sum(stats.lost.values())


def test_it_tells_each_second_and_ends_at_its_duration() -> None:
    """Two and a half seconds are three statistics, cumulative, of which the last one is final."""
    with Collector() as collector, busy(SPIN) as pid:
        before = time.monotonic()
        told = list(collector.profile_cpu(2.5))
        passed_s = time.monotonic() - before

        assert len(told) == 3
        assert [stats.final for stats in told] == [False, False, True]
        assert adds_up(told[-1])
        cpus = len(online_cpus())
        assert cpus * (math.floor(2.5 * 100) - 2) <= told[-1].expected <= cpus * (passed_s * 100 + 2)
        counts = [stats.processes.get(pid, 0) for stats in told]
        assert counts == sorted(counts)
        assert counts[-1] > 0
        assert sum(told[-1].processes.values()) == told[-1].samples
        assert os.getpid() not in told[-1].processes
        assert collector.performance_stats() == told[-1]


def test_the_hottest_stacks_are_told() -> None:
    """Those with the most samples, the hottest first, with the names of their frames."""
    with Collector() as collector, busy(HOT) as pid:
        *_, stats = collector.profile_cpu(1, frequency=999)

    counts = [stack.count for stack in stats.stacks]
    assert counts == sorted(counts, reverse=True)
    assert len(counts) <= 10
    assert pid in {stack.pid for stack in stats.stacks}
    assert all(stack.frames for stack in stats.stacks if stack.pid == pid)


def test_a_loop_that_is_left_ends_the_profile() -> None:
    """What it has counted until then can be read, and nothing is added."""
    with Collector() as collector:
        for _ in collector.profile_cpu(60):
            break
        stats = collector.performance_stats()

        assert stats.final
        assert adds_up(stats)
        assert collector.performance_stats() == stats


def test_another_profile_takes_the_place_of_the_first() -> None:
    """The first one's loop ends."""
    with Collector() as collector:
        first = collector.profile_cpu(60)
        next(first)
        second = collector.profile_cpu(0.2)

        assert list(first) == []
        assert [stats.final for stats in second] == [True]


def test_what_is_no_profile_is_refused() -> None:
    """With what to do."""
    with Collector() as collector:
        refused: tuple[Any, ...] = (0, math.inf, math.nan, "10s")
        for duration in refused:
            with pytest.raises(SondeError, match=f"{duration} is no duration: give seconds, more than 0"):
                collector.profile_cpu(duration)
        with pytest.raises(KnobError, match=r"1000 is none: give 1 to 999 times a second"):
            collector.profile_cpu(1, frequency=1000)
        with pytest.raises(SondeError, match=r"there is none: call profile_cpu\(duration\)"):
            collector.performance_stats()
