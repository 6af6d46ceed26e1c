"""Waiting for what ends a loop, and for rings that fill up."""

from __future__ import annotations

import select
from collections.abc import Iterable


class Waiting:
    """Waits for descriptors to become readable, and for rings to have become a quarter full; closed by ``close``.

    A ring is readable to poll(2) as soon as it holds one record, whatever the program said about waking us
    (stream.bpf.h): a loop that polls it would read record by record. Edge-triggered, epoll(7) tells of it only when
    the program did wake us. What is in a ring without that is read when the time is over.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._rings: set[int] = set()

    def wait(self, descriptors: Iterable[int], rings: Iterable[int], seconds: float) -> list[int]:
        """Give the descriptors, and the rings, that are ready; none when the time is over."""
        self._watch(set(rings))
        level = set(descriptors)
        for fd in level:
            self._epoll.register(fd, select.EPOLLIN)
        try:
            return [fd for fd, _ in self._epoll.poll(max(0.0, seconds))]
        finally:
            for fd in level:
                self._epoll.unregister(fd)

    def _watch(self, rings: set[int]) -> None:
        for fd in self._rings - rings:
            try:
                self._epoll.unregister(fd)
            except OSError:
                # It was closed, and with that the kernel has forgotten it.
                continue
        for fd in rings:
            try:
                self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)
            except FileExistsError:
                # As before. (Another ring may have got a closed one's number: then it was new just now.)
                continue
        self._rings = rings

    def close(self) -> None:
        """End; again is fine."""
        self._epoll.close()
