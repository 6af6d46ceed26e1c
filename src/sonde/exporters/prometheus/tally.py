"""What the endpoint counts of itself, from all its threads."""

from __future__ import annotations

import threading
from collections import Counter

from sonde.exporters.exporter import Status


class Tally:
    """Cumulative counts, and what the last scrape said."""

    def __init__(self, *, queue_capacity: int) -> None:
        self._lock = threading.Lock()
        self._capacity = queue_capacity
        self._offered = self._delivered = self._requests = 0
        self._dropped: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._latency_s = 0.0
        self._problem = ""

    def request(self) -> None:
        """Count a request that was understood."""
        with self._lock:
            self._requests += 1

    def fail(self, cause: str) -> None:
        """Count what went wrong with a client."""
        with self._lock:
            self._failures[cause] += 1

    def no_page(self, cause: str, problem: str) -> None:
        """Count a scrape for which there was no page; it holds until one succeeds."""
        with self._lock:
            self._failures[cause] += 1
            self._problem = problem

    def page(self, points: int) -> None:
        """Count the points of a page that is about to be sent."""
        with self._lock:
            self._offered += points
            self._problem = ""

    def delivered(self, points: int, *, latency_s: float) -> None:
        """Count a page as taken by its client."""
        with self._lock:
            self._delivered += points
            self._latency_s = latency_s

    def dropped(self, points: int, cause: str) -> None:
        """Count a page that its client did not take to the end."""
        with self._lock:
            self._dropped[cause] += points
            self._failures[cause] += 1

    def status(self, *, queue_length: int) -> Status:
        """Give all of it."""
        with self._lock:
            return Status(
                points_offered=self._offered,
                points_delivered=self._delivered,
                points_waiting=self._offered - self._delivered - self._dropped.total(),
                points_dropped=dict(self._dropped),
                failures=dict(self._failures),
                requests=self._requests,
                queue_length=queue_length,
                queue_capacity=self._capacity,
                latency_s=self._latency_s,
                is_healthy=not self._problem,
                problem=self._problem,
            )
