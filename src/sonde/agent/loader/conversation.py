"""One question and one answer at a time, and how long an answer is waited for."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable
from typing import TypeVar

import msgspec

from sonde.agent.loader.channel import Channel, OversizedError
from sonde.agent.loader.failure import error_of
from sonde.agent.loader.protocol import Answer, Failed, Reply, Request
from sonde.errors import LoaderError

LOG = logging.getLogger("sonde.agent")
LOAD_WITHIN_S, ANSWER_WITHIN_S = 120.0, 30.0
"""Loading takes milliseconds, and seconds on an emulated processor; the rest is little work. A loader that is silent for
so long does not live any more, or might as well not."""
ASIDE_WITHIN_S = 1.0
"""How long it is waited for with a question that can be left."""
HURRIED_S, SLICE_S = 2.5, 0.1
"""How long all answers may take together once the agent is to end; how often that is looked at."""

Wanted = TypeVar("Wanted", bound=Answer)
Answered = tuple[Answer, list[int]]


class LoaderBusyError(LoaderError):
    """The loader does not answer just now: what it was asked for can be left."""


class Conversation:
    """The agent's end of the wire; it may be asked from several threads.

    Once it is ``lost`` each question raises LoaderError, whose reason is ``loss``; ``is_over`` tells that the other side
    has ended it itself. ``channel`` is readable then. While ``hurries`` gives true answers are not waited for as long
    as else: that is a bound for all of them together.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.lost = self.is_over = False
        self.loss = "has ended"
        self.hurries: Callable[[], bool] = lambda: False
        self._lock = threading.Lock()
        self._number = self._owed = 0
        self._silent_s, self._hurried_left_s = 0.0, HURRIED_S
        self._encoder = msgspec.msgpack.Encoder()
        self._replies = msgspec.msgpack.Decoder(Reply)

    def tell(self, request: Request) -> None:
        """Say something to which the answer is ``first``."""
        self.channel.send(self._encoder.encode(request))

    def first(self) -> Answered:
        """Wait for the answer to what it was told; raises LoaderError, or what it says has failed."""
        with self._lock:
            return _right(*self._receive(0, LOAD_WITHIN_S))

    def ask(
        self, request: Request, kind: type[Wanted], *, within_s: float = ANSWER_WITHIN_S
    ) -> tuple[Wanted, list[int]]:
        """Ask, and give the answer and its descriptors, which are the caller's.

        Raises LoaderError, what the answer says has failed, and LoaderBusyError where ``within_s`` is ASIDE_WITHIN_S:
        the answer is nobody's then.
        """
        with self._lock:
            self._settle(within_s)
            self._number = self._number % (2**32 - 1) + 1
            numbered = msgspec.structs.replace(request, number=self._number)
            try:
                self.tell(numbered)
            except OSError as error:
                raise self.gone("has ended", by_itself=True) from error
            reply, descriptors = _right(*self._receive(self._number, within_s))
        if not isinstance(reply, kind):
            _close(descriptors)
            raise self.gone(f"answers {type(reply).__name__} where {kind.__name__} is due")
        return reply, descriptors

    def look(self) -> bool:
        """Tell whether it is lost: what it says unasked is its end, or an answer that it owes."""
        # While somebody asks it answers.
        if not self.lost and self._lock.acquire(blocking=False):
            try:
                if _is_readable(self.channel, 0):
                    self._overhear()
            finally:
                self._lock.release()
        return self.lost

    def _overhear(self) -> None:
        if self._owed:
            with contextlib.suppress(LoaderError):
                self._settle(ASIDE_WITHIN_S)
        else:
            self.gone("has ended", by_itself=True)

    def gone(self, why: str, *, by_itself: bool = False) -> LoaderError:
        """Take it for lost; whoever waits at the channel hears of it, and so does the loader, if it still listens."""
        self.lost, self.loss, self.is_over = True, why, by_itself
        with contextlib.suppress(OSError):
            self.channel.shut()
        return self._loss()

    def close(self) -> None:
        """Say no more: the loader ends then. Again is fine."""
        if not self.lost:
            self.lost = self.is_over = True
        self.channel.close()

    def _loss(self) -> LoaderError:
        return LoaderError("ask the loader", why=f"it {self.loss}", hint="end the agent and start it again")

    def _settle(self, within_s: float) -> None:
        """Take the answer that is owed to a question which was left, before the next is asked."""
        if self._owed and not self.lost:
            _close(self._receive(self._owed, within_s)[1])
            LOG.info("the loader answers again")
        if self.lost:
            raise self._loss()

    def _receive(self, number: int, within_s: float) -> Answered:
        if self.lost:
            raise self._loss()
        self._owed = number
        self._await(within_s)
        self._owed, self._silent_s = 0, 0.0
        try:
            received = self.channel.receive()
        except (OSError, OversizedError) as error:
            raise self.gone("says what cannot be read") from error
        if received is None:
            raise self.gone("has ended", by_itself=True)
        data, descriptors = received
        reply: Answer | None = None
        try:
            reply = found = self._replies.decode(data)
        except msgspec.MsgspecError as error:
            why = f"says what cannot be read: {error}"
        else:
            why = f"answers request {found.number} where {number} was asked"
        # 0 is the answer to a request that it could not read: ours are read, unless one is too long.
        if reply is None or (reply.number != number and not isinstance(reply, Failed)):
            _close(descriptors)
            raise self.gone(why)
        return reply, descriptors

    def _await(self, within_s: float) -> None:
        """Wait for an answer; counts slices and no clock: where both of us were frozen, one of them was long."""
        left_s = within_s
        while not _is_readable(self.channel, SLICE_S):
            left_s -= SLICE_S
            self._silent_s += SLICE_S
            if self.hurries():
                self._hurried_left_s -= SLICE_S
                left_s = min(left_s, self._hurried_left_s)
            if left_s > 0:
                continue
            if within_s > ASIDE_WITHIN_S or self._silent_s >= ANSWER_WITHIN_S:
                raise self.gone("does not answer")
            if self._silent_s < 2 * within_s:
                LOG.warning("the loader does not answer just now")
            why, hint = "it does not answer just now", "is it stopped, or the machine too busy?"
            raise LoaderBusyError("ask the loader", why=why, hint=hint)


def _right(reply: Answer, descriptors: list[int]) -> Answered:
    """Give an answer that is none of a failure; else raises what has failed."""
    if isinstance(reply, Failed):
        _close(descriptors)
        raise error_of(reply)
    return reply, descriptors


def _is_readable(channel: Channel, seconds: float) -> bool:
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _close(descriptors: list[int]) -> None:
    for fd in descriptors:
        os.close(fd)
