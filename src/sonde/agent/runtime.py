"""The agent's loop: drains streams, reads tables, gives exporters what there is, and keeps itself in bounds."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sonde._libbpf import lib
from sonde.agent.board import Board
from sonde.agent.budget import Budget, Level
from sonde.agent.clock import Clock
from sonde.agent.cost import Cost
from sonde.agent.endings import Endings
from sonde.agent.loader.conversation import LoaderBusyError
from sonde.agent.notify import Notifier
from sonde.agent.pace import unpaced
from sonde.agent.troubles import Troubles
from sonde.agent.vitals import Vitals
from sonde.errors import SondeError
from sonde.exporters.exporter import Status
from sonde.records.metrics import Snapshot
from sonde.records.waiting import Waiting

if TYPE_CHECKING:
    from sonde.agent.measurement import Measurement
    from sonde.exporters.exporter import Exporter
    from sonde.records.model import RecordBatch

LOG = logging.getLogger("sonde.agent")
DRAIN_EVERY_S = 2.0
"""How often streams are drained: a ring wakes us by itself when it has become a quarter full."""
READ_EVERY_MIN_S = 0.5
"""How often tables are read at most: every interval, or so often while one fills up."""
FILL_HIGH = 0.25
UNASKED_INTERVALS = 3
"""Where nobody is sent anything, and a scrape reads by itself, tables are read so much less often."""
LIVES_MAX = 200
"""After so many records of processes' lives they are read all the same: their rows fill the tables."""
WINDOW_S, WINDOW_EVERY_S = 0.1, 30.0
"""How long statistics of programs are kept, and how often: a third of a percent of the time."""
PID, PROMETHEUS = "process.pid", "prometheus"
SAMPLE_EVERY = 16
"""On the level SAMPLED a stream takes one record in so many, and a table one event."""


class Identity(Protocol):
    """Knows processes: takes the records of their lives, gives rows the columns of who they are of.

    ``attributes`` are the columns that it adds, by which series are kept apart.
    """

    @property
    def attributes(self) -> Sequence[str]:
        """Name the columns."""
        ...

    def take(self, batch: RecordBatch) -> None:
        """Learn from records of processes' lives."""
        ...

    def identify(self, batch: RecordBatch) -> RecordBatch:
        """Add the columns of who to rows and records."""
        ...

    def has_ended(self, attributes: Mapping[str, Any]) -> bool:
        """Tell whether a series is of a process that has ended."""
        ...


@dataclass(slots=True)
class Runtime:
    """Measures until it is told to end; made with everything that it owns, which ``run`` closes.

    ``lives`` names the stream that tells the agent of all processes' lives; ``say`` is told what a person should know;
    ``stopped`` are measurements that may come back, by name: their counters go on then.
    ``open_window`` has the kernel keep statistics of programs for so many seconds (None: it cannot be).
    """

    measurements: list[Measurement]
    exporters: list[Exporter]
    identity: Identity
    interval_s: float = 5.0
    budget: Budget = field(default_factory=lambda: Budget(None))
    cost: Cost = field(default_factory=Cost)
    clock: Clock = field(default_factory=Clock)
    notifier: Notifier = field(default_factory=lambda: Notifier({}))
    resource: Mapping[str, Any] = field(default_factory=dict)
    lives: str = "processes.lives"
    open_window: Callable[[float], None] | None = None
    say: Callable[[str], None] = lambda _: None
    started_ns: int = field(default_factory=time.time_ns)
    stopped: dict[str, Measurement] = field(default_factory=dict)
    vitals: Vitals = field(init=False)
    board: Board = field(init=False)
    endings: Endings = field(init=False)
    _troubles: Troubles = field(init=False)
    _judged_at: float = field(default_factory=time.monotonic)
    _window_at: float = float("-inf")
    _lateness_s: float = 0.0
    _lives: int = 0
    _waiting: Waiting = field(default_factory=Waiting)
    _paced_by_s: float = 0.0
    _next_drain: float = 0.0
    _next_read: float = 0.0
    _next_export: float = 0.0

    def __post_init__(self) -> None:
        """Open what wakes the loop."""
        self.vitals = Vitals(self.started_ns, budget_share=self.budget.share, level=Level.RECORDS)
        self.board = Board(self.interval_s, os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        self.endings = Endings(self.say)
        self._troubles = Troubles(self.say, LOG.info)

    # ---- begin and end --------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Attach everything and begin to count; what fails is raised, and nothing stays attached."""
        try:
            for each in self.measurements:
                each.attach()
        except BaseException:
            self.close()
            raise
        self._read_tables()
        # What was imported and loaded has left gaps that nothing else will fill.
        lib.sonde_give_back_memory()
        self.cost.begun(self.measurements)
        self._export()

    def loop(self, *, ends: Sequence[int], duration_s: float | None = None) -> list[int]:
        """Turn until the time is over or one of ``ends`` is readable; gives those that are.

        May be called again: what happened at a descriptor in ``ends`` is the caller's.
        """
        now = time.monotonic()
        self._next_drain = max(self._next_drain, now)
        deadline = float("inf") if duration_s is None else now + duration_s
        if self._paced_by_s != self.interval_s:
            # Else it goes on: who has it look at something else more often than that still has its exports.
            self._paced_by_s = self.interval_s
            self._next_read = self._next_export = now + self.interval_s
        while True:
            planned = min(deadline, self._next_read, self._next_export)
            planned = min(planned, self._next_drain) if self._has_streams else planned
            ready = self._wait(ends, planned)
            now = time.monotonic()
            self.board.turned(now)
            # Also where it was busy until then, or stopped.
            self._lateness_s = max(self._lateness_s, now - min(self._next_read, self._next_export))
            ended = [fd for fd in ends if fd in ready]
            if ended or now >= deadline:
                return ended
            self._drain_streams()
            self._next_drain = now + DRAIN_EVERY_S
            # What is sent is of this moment, also where a scrape has read in between.
            is_sent = now >= self._next_export and not self._is_asked
            if is_sent or self.board.is_wanted or now >= self._next_read or self._lives >= LIVES_MAX:
                self._read_tables()
                self._next_read = now + (READ_EVERY_MIN_S if self._is_filling else self._read_every_s)
            if now >= self._next_export:
                self._judge()
                self._export()
                # After a stall not at once: of some milliseconds the budget would take any work for too much.
                half = time.monotonic() + self.interval_s / 2
                self._next_export = max(self._next_export + self.interval_s, half)

    def finish(self) -> None:
        """Count no more, read what is left, give it to the exporters; the accounts are final then."""
        self.notifier.stopping()
        # Lives last: they tell whose the last rows and records are.
        for each in sorted(self.measurements, key=lambda each: each.name == self.lives):
            self.let_go(each)
        self.board.is_over = True
        share = self.vitals.overhead_share
        self._note_cost()
        if time.monotonic() < self._judged_at + self.interval_s / 2:
            # Of milliseconds the end is too much.
            self.vitals.overhead_share = share
        self._make_snapshot()
        self._export()

    def close(self, *, timeout_s: float = 5.0) -> None:
        """Let the exporters deliver, for so long at most in all, and free everything; again is fine."""
        deadline = time.monotonic() + timeout_s
        self.endings.hurry(timeout_s=timeout_s / 2)
        for exporter in self.exporters:
            exporter.close(timeout_s=max(0.0, deadline - time.monotonic()))
        self.endings.wait(timeout_s=max(0.0, deadline - time.monotonic()))
        for each in self.measurements:
            each.close()
        self._waiting.close()
        if self.board.wake >= 0:
            os.close(self.board.wake)
            self.board.wake = -1

    @property
    def every_measurement(self) -> list[Measurement]:
        """Give all of which there is an account: also those that a reload has stopped."""
        return [*self.measurements, *self.stopped.values()]

    def statuses(self) -> dict[str, Status]:
        """Tell how exporters do; counts are those of all of a name since the agent began."""
        found = self.endings.counts()
        for exporter in self.exporters:
            found[exporter.name] = found.get(exporter.name, Status()) + exporter.status()
        return found

    def let_go(self, measurement: Measurement) -> None:
        """Have it count no more, and give what was left; what cannot end in order is freed, and said."""
        try:
            self.give(measurement, measurement.detach())
        except SondeError as error:
            measurement.close()
            self.board.problem = f"{measurement.name}: {error}"
            self.say(self.board.problem)

    def export_now(self) -> None:
        """Give exporters what there is: of what ends now it is the last."""
        self._make_snapshot()
        self._export()
        for each in self.exporters:
            # What comes next does not have these counts.
            unpaced(each)

    def change_budget(self, share: float | None) -> None:
        """Have another budget from now on; without one nothing keeps it from measuring everything."""
        former, level = self.budget, Level.RECORDS if share is None else self.board.level
        self.budget = Budget(share, level=level, steps_down=former.steps_down, recoveries=former.recoveries)
        self.vitals.budget_share, self.vitals.level = share, level
        if level != self.board.level:
            self._go_to(level)

    def attach_missing(self) -> None:
        """Attach what the level wants and is not attached; what fails is said, and stays detached."""
        self._go_to(self.board.level)

    # ---- turning --------------------------------------------------------------------------------------------

    @property
    def _has_streams(self) -> bool:
        return any(each.is_stream and each.is_attached for each in self.measurements)

    @property
    def _is_asked(self) -> bool:
        """Whether there are only exporters that are asked, and none that sends."""
        return all(each.name == PROMETHEUS for each in self.exporters)

    @property
    def _read_every_s(self) -> float:
        return self.interval_s * (UNASKED_INTERVALS if self._is_asked else 1)

    @property
    def _is_filling(self) -> bool:
        return any(not each.is_stream and each.fill > FILL_HIGH for each in self.measurements)

    def _wait(self, ends: Sequence[int], until: float) -> list[int]:
        rings = [fd for each in self.measurements if (fd := each.fileno()) is not None]
        wait_s = max(0.0, until - time.monotonic())
        if self.notifier.watchdog_s:
            # systemd hears of us twice in its time, and only from the loop itself.
            self.notifier.alive()
            wait_s = min(wait_s, self.notifier.watchdog_s / 2)
        ready = self._waiting.wait((*ends, self.board.wake), rings, wait_s)
        if self.board.wake in ready:
            os.eventfd_read(self.board.wake)
        return ready

    def _drain_streams(self, *, named: str | None = None) -> None:
        for each in self.measurements:
            if each.is_stream and each.is_attached and named in (None, each.name):
                self.give(each, each.read())

    def identify(self, rows: RecordBatch) -> RecordBatch:
        """Give rows or records that were just read the columns of who, by all that happened before they were.

        A process may have begun, run its program and ended since the streams were drained for this reading.
        """
        self._drain_streams(named=self.lives)
        return self.identity.identify(rows)

    def give(self, measurement: Measurement, batches: Iterable[RecordBatch]) -> None:
        """Give a stream's records to whom they concern; a table's are added up already."""
        if not measurement.is_stream:
            return
        for batch in batches:
            if measurement.name == self.lives:
                self._lives += len(batch)
                self.identity.take(batch)
            if measurement.is_exported and self.exporters:
                identified = self.identify(batch)
                for exporter in self.exporters:
                    exporter.log(identified)

    def _read_tables(self) -> None:
        self._follow_clock()
        self._drain_streams()
        self._lives = 0
        for each in self.measurements:
            if not each.is_stream and each.is_attached:
                each.read()
                self._end_series(each)
        self._make_snapshot()

    def _follow_clock(self) -> None:
        step_ns = self.clock.step_ns()
        if step_ns:
            self.say(f"the wall clock was set by {step_ns / 1e9:+.1f} s: starts of counts move with it")
            self.vitals.start_ns += step_ns
            for measurement in self.every_measurement:
                for totals in measurement.totals:
                    totals.shift(step_ns)

    def _end_series(self, measurement: Measurement) -> None:
        """Series of processes that have ended end, once their last count was exported."""
        if PID in self.identity.attributes:
            for totals in measurement.totals:
                totals.end_where(self.identity.has_ended, idle_ns=int(self.interval_s * 1e9))

    def _make_snapshot(self) -> None:
        now_ns = time.time_ns()
        series = [each for measurement in self.measurements for each in measurement.series(now_ns)]
        self.vitals.lateness_s, self._lateness_s = self._lateness_s, 0.0
        here = {each.name for each in self.exporters}
        own = self.vitals.series(self.every_measurement, self.statuses(), here, now_ns)
        self.board.put(Snapshot((*series, *own), now_ns, self.resource))

    def _export(self) -> None:
        if self.board.snapshot is not None:
            for exporter in self.exporters:
                exporter.export(self.board.snapshot)
        self._troubles.look(self.exporters, time.monotonic())

    # ---- the budget -----------------------------------------------------------------------------------------

    def _note_cost(self) -> float:
        share = self.cost.share(self.measurements)
        self.vitals.overhead_share = share
        self.vitals.cpu_s, self.vitals.memory_bytes = self.cost.cpu_s, self.cost.memory_bytes
        self.vitals.program_s = self.cost.program_s
        return share

    def _judge(self) -> None:
        """Reckon up what was used, and go a level down or up as the budget says."""
        share = self._note_cost()
        now = time.monotonic()
        self._keep_statistics(now)
        if self.board.level == Level.DETACHED:
            self.vitals.detached_s += now - self._judged_at
        self._judged_at = now
        level = self.budget.judge(share)
        if level != self.board.level:
            way = "costs too much" if level > self.board.level else "has room again"
            assert self.budget.share is not None
            self.say(
                f"sonde {way}: {share:.2%} of a core, the budget is {self.budget.share:.2%}: now {level.words}"
            )
            self._go_to(level)
        self.vitals.level = level
        self.vitals.steps_down, self.vitals.recoveries = self.budget.steps_down, self.budget.recoveries

    def _keep_statistics(self, now: float) -> None:
        """Open a window of statistics once in a while: they double the cost of an empty program while they are kept."""
        if self.open_window is None or now < self._window_at + WINDOW_EVERY_S:
            return
        self._window_at = now
        try:
            self.open_window(WINDOW_S)
        except LoaderBusyError as error:
            LOG.debug("no statistics of programs just now: %s", error)
        except SondeError as error:
            # It takes CAP_SYS_ADMIN, which a service should not have: then what the probes' READMEs say is reckoned with.
            LOG.debug("no statistics of programs: %s", error)
            self.open_window = None

    def _go_to(self, level: Level) -> None:
        self.board.level = level
        said = set[str]()
        for each in self.measurements:
            wanted = level < Level.AGGREGATED if each.is_stream else level < Level.DETACHED
            try:
                if wanted:
                    each.attach()
                    # Of processes' lives all are wanted: the rows of tables are named by them.
                    is_whole = level < Level.SAMPLED or each.name == self.lives
                    each.thin(1 if is_whole else SAMPLE_EVERY)
                else:
                    self.let_go(each)
            except SondeError as error:
                # It stays detached, and /readyz says so; the next change of level tries again.
                self.board.problem = str(error)
                if self.board.problem not in said:
                    said.add(self.board.problem)
                    self.say(self.board.problem)
        # What the change took is paid once: charged to the interval, it would look as if this level were too dear.
        self.cost.share(self.measurements)
