"""Exporters that have ended, or are about to: what they delivered still counts, what they could not is said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sonde.exporters.exporter import Exporter, Status


@dataclass(slots=True)
class Ending:
    """An exporter that delivers what waits; ``lost`` is what it had lost before."""

    exporter: Exporter
    lost: int
    thread: threading.Thread


@dataclass(slots=True)
class Endings:
    """Ends exporters beside the loop, which goes on; ``say`` is told what a person should know. From one thread."""

    say: Callable[[str], None]
    _under_way: list[Ending] = field(default_factory=list)
    _counts: dict[str, Status] = field(default_factory=dict)
    _last: dict[str, Exporter] = field(default_factory=dict)

    def begin(self, exporter: Exporter, end: Callable[[], None]) -> Ending:
        """Have one deliver what waits, and end, by this."""
        ending = Ending(
            exporter, exporter.status().lost, threading.Thread(target=end, name="sonde-ending", daemon=True)
        )
        ending.thread.start()
        self._under_way.append(ending)
        return ending

    def last(self, name: str) -> Exporter | None:
        """Give the last of a name that has ended, once: who comes in its place may go on where it ended."""
        if any(each.exporter.name == name for each in self._under_way):
            return None
        return self._last.pop(name, None)

    def wait(self, *, timeout_s: float) -> None:
        """Wait until all have ended, for so long at most."""
        deadline = time.monotonic() + timeout_s
        for each in self._under_way:
            each.thread.join(max(0.0, deadline - time.monotonic()))
        self.counts()

    def counts(self) -> dict[str, Status]:
        """Give what those of each name have counted; of them nothing else holds any more."""
        found = dict(self._counts)
        for each in list(self._under_way):
            has_ended = not each.thread.is_alive()
            status = each.exporter.status()
            # Behind it one without anything: only the counts stay.
            found[each.exporter.name] = found.get(each.exporter.name, Status()) + status + Status()
            if has_ended:
                self._under_way.remove(each)
                self._last[each.exporter.name] = each.exporter
                self._counts[each.exporter.name] = (
                    self._counts.get(each.exporter.name, Status()) + status + Status()
                )
                if status.lost > each.lost:
                    count = status.lost - each.lost
                    self.say(f"{each.exporter.name} has ended with {count:,} that it could not deliver")
        return found
