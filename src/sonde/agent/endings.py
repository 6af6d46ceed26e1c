"""Exporters that have ended, or are about to: what they delivered still counts, what they could not is said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sonde.agent.pace import unpaced
from sonde.exporters.exporter import Exporter, Status


@dataclass(slots=True)
class Ending:
    """An exporter that delivers what waits; ``lost`` is what it had lost before.

    ``is_succeeded`` where another waits for its end, and goes on there.
    """

    exporter: Exporter
    lost: int
    thread: threading.Thread
    is_succeeded: bool

    def wait(self, timeout_s: float) -> None:
        """Wait until it has ended, for so long at most."""
        # One that could not be started has done its work before.
        if self.thread.is_alive():
            self.thread.join(max(0.0, timeout_s))


@dataclass(slots=True)
class Endings:
    """Ends exporters beside the loop, which goes on; ``say`` is told what a person should know. From one thread.

    Of a name they end in their order: each has what was delivered and what waits before the next one asks for it.
    """

    say: Callable[[str], None]
    _under_way: list[Ending] = field(default_factory=list)
    _threads: dict[str, list[threading.Thread]] = field(default_factory=dict)
    _counts: dict[str, Status] = field(default_factory=dict)
    _last: dict[str, Exporter] = field(default_factory=dict)

    def begin(self, exporter: Exporter, end: Callable[[], None], *, is_succeeded: bool = False) -> Ending:
        """Have one deliver what waits, and end, by this, when those of its name before it have."""
        lost = exporter.status().lost
        thread = self._in_turn(exporter.name, end, before_loop=exporter if is_succeeded else None)
        ending = Ending(exporter, lost, thread, is_succeeded)
        self._under_way.append(ending)
        return ending

    def follow(self, name: str, then: Callable[[Exporter], None]) -> bool:
        """Have this done with the last of a name that was ended, once it has; False where there was none.

        At once where it has ended; who comes in its place may go on where it ended, once.
        """
        self.counts()
        ending = next((each for each in reversed(self._under_way) if each.exporter.name == name), None)
        if ending is not None:
            exporter, ending.is_succeeded = ending.exporter, True
            self._in_turn(name, lambda: then(exporter))
            return True
        last = self._last.pop(name, None)
        if last is not None:
            then(last)
        return last is not None

    def _in_turn(
        self, name: str, work: Callable[[], None], *, before_loop: Exporter | None = None
    ) -> threading.Thread:
        """Do this in a thread, or at once where none can be: then ``before_loop`` keeps nobody waiting."""
        before = [each for each in self._threads.get(name, ()) if each.is_alive()]

        def in_turn() -> None:
            for each in before:
                each.join()
            work()

        thread = threading.Thread(target=in_turn, name="sonde-ending", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # No more threads may be (TasksMax=): the loop waits.
            if before_loop is not None:
                _give_up(before_loop)
            in_turn()
        self._threads[name] = [*before, thread]
        return thread

    def hurry(self, *, timeout_s: float) -> None:
        """Have those end who have successors, for the agent ends: attempts have so long, and are given up then."""
        deadline = time.monotonic() + timeout_s
        for each in self._under_way:
            if each.is_succeeded:
                each.wait(deadline - time.monotonic())
        for each in self._under_way:
            if each.is_succeeded and each.thread.is_alive():
                _give_up(each.exporter)

    def wait(self, *, timeout_s: float) -> None:
        """Wait until all have ended, for so long at most."""
        deadline = time.monotonic() + timeout_s
        for each in self._under_way:
            each.wait(deadline - time.monotonic())
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
                if not each.is_succeeded:
                    self._last[each.exporter.name] = each.exporter
                self._counts[each.exporter.name] = (
                    self._counts.get(each.exporter.name, Status()) + status + Status()
                )
                if status.lost > each.lost:
                    count = status.lost - each.lost
                    self.say(f"{each.exporter.name} has ended with {count:,} that it could not deliver")
        return found


def _give_up(exporter: Exporter) -> None:
    give_up = getattr(unpaced(exporter), "give_up", None)
    if give_up is not None:
        give_up()
