"""What threads beside the loop may see: the newest metrics, and whether the loop is well."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sonde.agent.budget import Level

if TYPE_CHECKING:
    from sonde.agent.measurement import Measurement
    from sonde.exporters.exporter import Exporter
    from sonde.records.metrics import Snapshot

FRESH_S = 0.1
"""A scrape is answered with what was read within this time; else it is read anew."""
FRESH_WITHIN_S = 5.0
"""How long a scrape waits for the loop: half of Prometheus's default for the whole scrape."""
STUCK_INTERVALS = 3
STUCK_MIN_S = 5.0


@dataclass(slots=True)
class Board:
    """The loop writes it; scrapes and health checks read it, and may ask the loop to read the tables anew.

    ``wake`` is an eventfd that the loop waits for.
    """

    interval_s: float
    wake: int
    level: Level = Level.RECORDS
    problem: str = ""
    snapshot: Snapshot | None = None
    is_over: bool = False
    _turned_at: float = field(default_factory=time.monotonic)
    _reads: int = 0
    _wanted: bool = False
    _read_at: float = float("-inf")
    _changed: threading.Condition = field(default_factory=threading.Condition)

    # ---- by the loop ----------------------------------------------------------------------------------------

    def turned(self, at: float) -> None:
        """Note that the loop turns."""
        self._turned_at = at

    def put(self, snapshot: Snapshot) -> None:
        """Put up what was just read."""
        with self._changed:
            self.snapshot = snapshot
            self._reads += 1
            self._wanted = False
            self._read_at = time.monotonic()
            self._changed.notify_all()

    @property
    def is_wanted(self) -> bool:
        """Tell whether somebody waits for a new reading."""
        with self._changed:
            return self._wanted

    # ---- by others ------------------------------------------------------------------------------------------

    def fresh(self, timeout_s: float = FRESH_WITHIN_S) -> Snapshot | None:
        """Give what was read just now; waits for the loop, or gives the last one when it does not come in time.

        None where the loop is stuck: an old page that looks new would be worse than none.
        """
        with self._changed:
            if self.is_over or time.monotonic() - self._read_at < FRESH_S:
                return self.snapshot
            wanted = self._reads + 1
            self._wanted = True
            os.eventfd_write(self.wake, 1)
            is_read = self._changed.wait_for(lambda: self._reads >= wanted, timeout_s)
            return self.snapshot if is_read or self.alive()[0] else None

    def alive(self) -> tuple[bool, dict[str, Any]]:
        """Tell whether the loop turns."""
        idle_s = time.monotonic() - self._turned_at
        is_alive = self.is_over or idle_s < STUCK_INTERVALS * self.interval_s + STUCK_MIN_S
        return is_alive, {"loop_turned_s_ago": round(idle_s, 3), "problem": self.problem}

    def ready(
        self, measurements: Sequence[Measurement], exporters: Sequence[Exporter]
    ) -> tuple[bool, dict[str, Any]]:
        """Tell whether everything that was asked for is measured, and why not.

        An exporter that cannot deliver is said, and does not make the agent unready: its queue and the others go on.
        """
        # Streams are left out on purpose on a level that detaches them; then the level says so.
        wanted = [each for each in measurements if self.level < Level.AGGREGATED or not each.is_stream]
        detached = [each.name for each in wanted if not each.is_attached]
        is_ready = self.alive()[0] and self.snapshot is not None and not self.is_over and not detached
        return is_ready, {
            "level": self.level.words,
            "detached": detached,
            "problem": self.problem,
            "exporters": {each.name: each.status().problem or "ok" for each in exporters},
        }
