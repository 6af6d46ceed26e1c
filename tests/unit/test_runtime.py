"""The agent's loop without a kernel: what a change of level is charged to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sonde.agent.cost import Cost
from sonde.agent.runtime import Runtime


class Measured:
    """A table that notes when it is attached, in a list that it shares with others."""

    name, is_stream = "syscalls.counts", False

    def __init__(self, noted: list[str]) -> None:
        self.noted = noted

    def attach(self) -> None:
        self.noted.append("attached")

    def thin(self, every: int) -> None: ...

    def close(self) -> None: ...


def test_what_attaching_takes_is_charged_to_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each recovery looks as if the level were too dear, and with a short interval none lasts."""
    noted: list[str] = []

    def share(_: Cost, measurements: Sequence[Any]) -> float:
        noted.append("reckoned")
        return 0.0

    monkeypatch.setattr(Cost, "share", share)
    runtime = Runtime(cast(Any, [Measured(noted)]), [], cast(Any, None), interval_s=5.0)
    try:
        runtime.attach_missing()
    finally:
        runtime.close()

    assert ["attached", "reckoned"] == noted


def test_what_is_sent_is_of_the_moment_also_where_a_scrape_reads_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each scrape had put off the next reading by an interval, and what was sent then was as old."""
    now, read_at, ages = 100.0, 100.0, list[float]()

    def wait(runtime: Runtime, ends: Sequence[int], until: float) -> list[int]:
        nonlocal now
        is_scraped = now + 0.3 < until
        now = now + 0.3 if is_scraped else max(now, until)
        runtime.board._wanted = is_scraped
        return [runtime.board.wake] if is_scraped else []

    def read(_: Runtime) -> None:
        nonlocal read_at
        read_at = now

    monkeypatch.setattr(
        "sonde.agent.runtime.time", SimpleNamespace(**{**vars(time), "monotonic": lambda: now})
    )
    monkeypatch.setattr(Runtime, "_wait", wait)
    monkeypatch.setattr(Runtime, "_judge", lambda _: None)
    monkeypatch.setattr(Runtime, "_export", lambda _: ages.append(now - read_at))
    monkeypatch.setattr(Runtime, "_read_tables", read)
    runtime = Runtime([], [cast(Any, SimpleNamespace(name="otlp"))], cast(Any, None), interval_s=1.0)
    try:
        runtime.loop(ends=[], duration_s=15.0)
    finally:
        runtime.exporters.clear()
        runtime.close()

    assert len(ages) > 5
    assert max(ages) == 0


def test_after_a_stall_no_interval_of_milliseconds_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of so little time any work is too much: a machine that was busy, or stopped, made sonde do less."""
    now, stalls, judged = 100.0, iter([5.6, 0.45]), list[float]()

    def wait(_: Runtime, ends: Sequence[int], until: float) -> list[int]:
        nonlocal now
        now = max(now, until) + next(stalls, 0.0)
        return []

    monkeypatch.setattr(
        "sonde.agent.runtime.time", SimpleNamespace(**{**vars(time), "monotonic": lambda: now})
    )
    monkeypatch.setattr(Runtime, "_wait", wait)
    monkeypatch.setattr(Runtime, "_judge", lambda _: judged.append(now))
    monkeypatch.setattr(Runtime, "_export", lambda _: None)
    monkeypatch.setattr(Runtime, "_read_tables", lambda _: None)
    runtime = Runtime([], [], cast(Any, None), interval_s=1.0)
    try:
        runtime.loop(ends=[], duration_s=15.0)
    finally:
        runtime.close()

    apart = [after - before for before, after in pairwise(judged)]
    assert len(apart) >= 5
    assert min(apart) >= 0.5


def test_lateness_is_also_what_the_loop_itself_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading of four seconds makes the next one late by three; nothing else is late."""
    now, works, late = 1000.0, iter([0.0, 4.0]), list[float]()

    def wait(_: Runtime, ends: Sequence[int], until: float) -> list[int]:
        nonlocal now
        now = max(now, until)
        return []

    def read(runtime: Runtime) -> None:
        nonlocal now
        late.append(runtime._lateness_s)
        runtime._lateness_s = 0.0
        now += next(works, 0.0)

    monkeypatch.setattr(
        "sonde.agent.runtime.time", SimpleNamespace(**{**vars(time), "monotonic": lambda: now})
    )
    monkeypatch.setattr(Runtime, "_wait", wait)
    monkeypatch.setattr(Runtime, "_judge", lambda _: None)
    monkeypatch.setattr(Runtime, "_export", lambda _: None)
    monkeypatch.setattr(Runtime, "_read_tables", read)
    exporter = SimpleNamespace(name="otlp", close=lambda **_: None)
    runtime = Runtime([], [cast(Any, exporter)], cast(Any, None), interval_s=1.0)
    try:
        runtime.loop(ends=[], duration_s=12.0)
    finally:
        runtime.close()

    assert max(late) == pytest.approx(3.0)
    assert sum(late) == pytest.approx(3.0)
