"""Exporters that end beside the loop: in their order, known to who follows, and soon where the agent ends."""

from __future__ import annotations

import threading
import time

import pytest

from sonde.agent.endings import Endings
from sonde.exporters.exporter import Status

SOON_S = 20.0


class Named:
    """An exporter of a name, for which there is nothing to do."""

    def __init__(self, name: str = "otlp", *, points: int = 0) -> None:
        self.name, self.points = name, points
        self.given_up = threading.Event()

    def status(self) -> Status:
        return Status(points_offered=self.points, points_delivered=self.points)

    def give_up(self) -> None:
        self.given_up.set()


@pytest.fixture
def endings() -> Endings:
    return Endings(say=lambda _: None)


def test_those_of_a_name_end_in_their_order(endings: Endings) -> None:
    """The second asks the first for what it has delivered: it must have ended."""
    done: list[str] = []
    go = threading.Event()
    endings.begin(Named(), lambda: (go.wait(SOON_S), done.append("first")))  # type: ignore[arg-type]
    endings.begin(Named(), lambda: done.append("second"))  # type: ignore[arg-type]
    endings.begin(Named("file"), lambda: done.append("another")).wait(SOON_S)  # type: ignore[arg-type]
    assert done == ["another"]
    go.set()
    endings.wait(timeout_s=SOON_S)
    assert done == ["another", "first", "second"]


@pytest.mark.parametrize("has_ended", [False, True])
def test_who_follows_is_told_of_the_last_once_it_has_ended(endings: Endings, *, has_ended: bool) -> None:
    go, told = threading.Event(), list[str]()
    former = Named()
    endings.begin(former, lambda: (go.wait(SOON_S), told.append("ended")))  # type: ignore[arg-type]
    if has_ended:
        go.set()
        endings.wait(timeout_s=SOON_S)
    assert endings.follow("otlp", lambda last: told.append(f"followed {last is former}"))
    go.set()
    endings.begin(Named(), lambda: told.append("next")).wait(SOON_S)  # type: ignore[arg-type]
    assert told == ["ended", "followed True", "next"]


def test_nobody_follows_who_has_a_successor(endings: Endings) -> None:
    endings.begin(Named(), lambda: None, is_succeeded=True)  # type: ignore[arg-type]
    endings.wait(timeout_s=SOON_S)
    assert not endings.follow("otlp", lambda _: None)
    assert not endings.follow("file", lambda _: None)


def test_at_the_end_what_is_under_way_is_given_up(endings: Endings) -> None:
    former = Named(points=7)
    endings.begin(former, lambda: former.given_up.wait(SOON_S), is_succeeded=True)  # type: ignore[arg-type]
    alone = Named("file")
    endings.begin(alone, lambda: time.sleep(0.3))  # type: ignore[arg-type]
    begun = time.monotonic()
    endings.hurry(timeout_s=0.05)
    endings.wait(timeout_s=SOON_S)
    assert former.given_up.is_set()
    assert not alone.given_up.is_set(), "nobody waits for it"
    assert time.monotonic() - begun < SOON_S
    assert endings.counts()["otlp"].points_delivered == 7


def test_without_another_thread_it_ends_at_once(endings: Endings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service has as many as TasksMax= says."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[str] = []
    endings.begin(Named(), lambda: done.append("ended")).wait(SOON_S)  # type: ignore[arg-type]
    assert done == ["ended"]
    assert endings.follow("otlp", lambda _: done.append("followed"))
    assert done == ["ended", "followed"]
