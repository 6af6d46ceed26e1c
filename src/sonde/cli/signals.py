"""Ctrl-C, and what else asks a measurement to end, as a descriptor that becomes readable."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any, Self

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Takes the signals that end a measurement, from ``__enter__`` on; a second Ctrl-C interrupts as usual.

    ``fileno`` is readable once one has come. What was the handler before is back after ``__exit__``.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._fd = -1
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        for number in ENDING:
            # What is ignored stays so: nohup, and commands in the background of a script.
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._take)
        return self

    def _take(self, number: int, _: FrameType | None) -> None:
        self.received = self.received or number
        os.eventfd_write(self._fd, 1)
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)

    def end(self) -> None:
        """Ask for the end without a signal: there is enough."""
        os.eventfd_write(self._fd, 1)

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._fd

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._fd)
