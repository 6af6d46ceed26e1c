"""What became of every item of a signal: offered = delivered + dropped, by cause, + waiting."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class State:
    """A ledger's figures at one moment; ``problem`` is empty while it delivers."""

    offered: int = 0
    delivered: int = 0
    waiting: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    requests: int = 0
    latency_s: float = 0.0
    problem: str = ""


class Ledger:
    """Counts items and attempts; used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dropped: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._is_closed = False
        self._offered = self._delivered = self._requests = 0
        self._latency_s = 0.0
        self._problem = ""

    def state(self) -> State:
        """Give all figures, of one moment."""
        with self._lock:
            return State(
                offered=self._offered,
                delivered=self._delivered,
                waiting=self._waiting(),
                dropped=dict(self._dropped),
                failures=dict(self._failures),
                requests=self._requests,
                latency_s=self._latency_s,
                problem=self._problem,
            )

    def _waiting(self) -> int:
        return self._offered - self._delivered - self._dropped.total()

    def offer(self, items: int) -> None:
        """Count what is to be delivered."""
        with self._lock:
            self._offered += items
            if self._is_closed:
                self._dropped["closed"] += items

    def withdraw(self, items: int) -> None:
        """Count no more what waited, and is another ledger's now."""
        with self._lock:
            self._offered -= items

    def deliver(self, items: int, *, rejected: int = 0) -> None:
        """Count what a receiver has, but what it rejected of that."""
        with self._lock:
            if not self._is_closed:
                rejected = min(rejected, items)
                self._delivered += items - rejected
                if rejected:
                    self._dropped["rejected"] += rejected

    def drop(self, items: int, cause: str) -> None:
        """Count what nobody will have."""
        with self._lock:
            if items and not self._is_closed:
                self._dropped[cause] += items

    def attempt(self, *, latency_s: float, cause: str, problem: str) -> None:
        """Count an attempt; ``cause`` and ``problem`` are empty for one that delivered."""
        with self._lock:
            self._requests += 1
            self._problem = problem
            if cause:
                self._failures[cause] += 1
            else:
                self._latency_s = latency_s

    def close(self) -> None:
        """Drop what waits; whatever comes later is dropped, too, and a late answer changes nothing."""
        with self._lock:
            if not self._is_closed:
                left = self._waiting()
                if left:
                    self._dropped["closed"] += left
            self._is_closed = True
