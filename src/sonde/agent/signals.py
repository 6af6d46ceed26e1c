"""Signals to the agent, as numbers that can be read from a descriptor."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any, Self

ENDING = frozenset({signal.SIGINT, signal.SIGTERM})
TAKEN = (*ENDING, signal.SIGHUP)


class Signals:
    """Takes SIGINT, SIGTERM and SIGHUP; a context manager, which puts back what was there before.

    ``fileno`` is readable when one has come; ``take`` gives those that have; ``is_ending`` is true once one has come
    that ends. A second SIGINT interrupts as usual.
    """

    def __init__(self) -> None:
        self._read_end = self._write_end = -1
        self._before: dict[int, Any] = {}
        self._mask_before: set[Any] = set()
        self._wakeup_before = -1
        self.is_ending = False

    def __enter__(self) -> Self:
        self._read_end, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup_before = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in TAKEN:
            # A service that nohup or a script has told to ignore a signal goes on ignoring it.
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._noted)
        # Who started it may have blocked them, for itself.
        self._mask_before = signal.pthread_sigmask(signal.SIG_UNBLOCK, self._before)
        return self

    def _noted(self, number: int, _: FrameType | None) -> None:
        # The number is in the pipe already; what waits for something else may look at this.
        self.is_ending |= number in ENDING
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._read_end

    def take(self) -> set[int]:
        """Give the signals that have come since the last call."""
        try:
            return set(os.read(self._read_end, 4096)) & set(TAKEN)
        except BlockingIOError:
            return set()

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._read_end)
        os.close(self._write_end)
