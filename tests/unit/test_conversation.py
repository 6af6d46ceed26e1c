"""Questions and answers between agent and loader: how long one is waited for, and what ends it."""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from sonde.agent.loader import conversation
from sonde.agent.loader.channel import Channel
from sonde.agent.loader.conversation import ASIDE_WITHIN_S, Conversation, LoaderBusyError
from sonde.agent.loader.protocol import Count, Done, Question, Ready
from sonde.errors import LoaderError

ASKED = Count(0, 0.0)


@contextmanager
def talking(answer: Callable[[int], Any]) -> Iterator[Conversation]:
    """A conversation with somebody who answers a question of this number so, or not where that is None."""
    ours, theirs = Channel.pair()

    def serve() -> None:
        with theirs, contextlib.suppress(BrokenPipeError):
            while data := theirs.recv(65536):
                said = answer(msgspec.msgpack.decode(data, type=Question).number)
                if said is not None:
                    theirs.send(said if isinstance(said, bytes) else msgspec.msgpack.encode(said))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    made = Conversation(ours)
    try:
        yield made
    finally:
        made.close()
        thread.join(60)
    assert not thread.is_alive()


def test_an_answer_is_to_its_question() -> None:
    with talking(Done) as made:
        for _ in range(3):
            made.ask(ASKED, Done)
        assert not made.look()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"\xc1", "says what cannot be read"),
        (Done(7), "answers request 7 where 1 was asked"),
        (Ready(1, [], []), "answers Ready where Done is due"),
    ],
    ids=["no message", "another number", "another answer"],
)
def test_who_answers_nonsense_is_lost_and_hears_of_it(said: Any, words: str) -> None:
    with talking(lambda _: said) as made:
        with pytest.raises(LoaderError, match=words):
            made.ask(ASKED, Done)
        assert made.lost
        assert not made.is_over
        assert select.select([made.channel], [], [], 0)[0]
        with pytest.raises(LoaderError, match=words):
            made.ask(ASKED, Done)


@contextmanager
def left_alone(monkeypatch: pytest.MonkeyPatch, times: int) -> Iterator[Conversation]:
    """A conversation in which so many questions were left; who was asked answers from now on."""
    answers = threading.Event()
    monkeypatch.setattr(conversation, "SLICE_S", 0.01)

    def late(number: int) -> Done:
        answers.wait(60)
        return Done(number)

    with talking(late) as made:
        for _ in range(times):
            with pytest.raises(LoaderBusyError):
                made.ask(ASKED, Done, within_s=ASIDE_WITHIN_S / 5)
        answers.set()
        yield made


def test_what_can_be_left_is_left_and_its_answer_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    with left_alone(monkeypatch, 2) as made:
        made.ask(ASKED, Done)
        assert not made.look()


def test_a_late_answer_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits at the descriptor is woken by it, and finds nothing lost."""
    with left_alone(monkeypatch, 1) as made:
        assert select.select([made.channel], [], [], 60)[0]
        assert not made.look()
        assert not select.select([made.channel], [], [], 0)[0]
        made.ask(ASKED, Done)


def test_once_there_is_hurry_all_answers_have_so_long_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "SLICE_S", 0.01)
    monkeypatch.setattr(conversation, "HURRIED_S", 0.5)

    def slow(number: int) -> Done:
        time.sleep(0.2)
        return Done(number)

    with talking(slow) as made:
        made.hurries = lambda: True
        answered = 0
        with contextlib.suppress(LoaderError):
            while answered < 20:
                made.ask(ASKED, Done)
                answered += 1
        assert answered < 20
        assert made.loss == "does not answer"


def test_after_its_end_it_is_over() -> None:
    with talking(Done) as made:
        made.ask(ASKED, Done)
        made.close()
        made.close()
        with pytest.raises(LoaderError, match="it has ended"):
            made.ask(ASKED, Done)
        with pytest.raises(LoaderError, match="it has ended"):
            made.first()
