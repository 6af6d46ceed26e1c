"""A filter from its start to its end: shown every interval, its rules read again when that is asked for."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from types import FrameType
from typing import TYPE_CHECKING, Any

from sonde.cli.destination import Destination
from sonde.cli.ready import tell_ready
from sonde.cli.ruling import Ruling
from sonde.cli.signals import Signals
from sonde.cli.standard_streams import say
from sonde.errors import CommandError, ConfigError, SondeError

if TYPE_CHECKING:
    from sonde.filter.filter import Filter
    from sonde.filter.rule import RuleSet
    from sonde.records.model import RecordBatch, Sink
    from sonde.views.drawing import Body, Caption
    from sonde.views.line import Line
    from sonde.views.page import Page

READS_MAX = 3
UNMET_SHOWN = 10
FEW_RULES = 20
"""So many rules are shown in their own order; of more the busiest first."""
DROPPED, WOULD_DROP = "dropped", "would_drop"
"""What a dry run would have dropped it has not dropped."""


class Reloading:
    """SIGHUP as a descriptor that becomes readable: read the rules again.

    A terminal that goes away says the same, and then it is the end, unless the signal was ignored (nohup).
    """

    def __init__(self, end: Callable[[], None], stack: ExitStack) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        stack.callback(os.close, self._fd)
        self._end = end
        was_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self._has_terminal = not was_ignored and _has_terminal()
        before = signal.signal(signal.SIGHUP, self._take)
        stack.callback(signal.signal, signal.SIGHUP, before)

    def _take(self, _: int, __: FrameType | None) -> None:
        if self._has_terminal and not _has_terminal():
            self._end()
        else:
            os.eventfd_write(self._fd, 1)

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._fd

    def clear(self) -> None:
        """Wait for the next one."""
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return


def _has_terminal() -> bool:
    """Tell whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _identity(path: str) -> Any:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


class Filtering:
    """Runs one filter for a person; the stack closes all that it opens."""

    def __init__(self, options: dict[str, Any], ruling: Ruling, stack: ExitStack) -> None:
        self.options, self.ruling = options, ruling
        self.format = str(options["format"])
        self.destination = Destination(options["path"], for_machines=self.format != "table")
        self._stack = stack
        self._messages: list[str] = []
        self._filter: Filter
        self._files: tuple[str, ...] = () if ruling.path is None else (ruling.path,)
        self._found: list[Any] = []

    @property
    def is_live(self) -> bool:
        """Tell whether a terminal is redrawn in place."""
        return self.format == "table" and self.destination.is_terminal

    @property
    def caption(self) -> Caption:
        """Give what stands around the table."""
        from sonde.views.drawing import Caption

        return Caption(f"sonde filter {self.ruling.interface}", self._about())

    def run(self) -> int:
        """Start, show, replace, end; gives the exit status. Raises SondeError and OSError."""
        from sonde.bpf.link.interface import interface_index
        from sonde.bpf.link.xdp import Xdp

        stack = self._stack
        stack.callback(self._tell_messages)
        # First: of an interface that is not there no rule could be said to cut a connection.
        interface_index(self.ruling.interface, Xdp(self.ruling.interface))
        rules = self._read()
        stack.enter_context(self.destination)
        signals = stack.enter_context(Signals())
        reloading = Reloading(signals.end, stack) if self.ruling.path is not None else None
        self._filter = self._started(rules)
        started_at = time.monotonic()
        tell_ready(self.options["ready_fd"])
        if not self.is_live:
            self._say(f"{self.ruling.interface}: {self._about()}")
        sink = self._sink(len(rules))
        duration_s = self.options["for_s"]
        deadline = float("inf") if duration_s is None else started_at + duration_s
        self._loop(sink, signals, reloading, deadline)
        self._filter.stop()
        batch = self._batch()
        sink.write(batch)
        sink.close(batch.accounting)
        if not self._filter.is_attached:
            raise CommandError(f"filter {self.ruling.interface}", why="the interface has gone")
        return 0

    # ---- rules ------------------------------------------------------------------------------------------------

    def _read(self) -> RuleSet:
        """Read the rules, and look whether they may be put in force, and what of them never will be."""
        from sonde.filter.unmet import unmet

        rules = self._read_files()
        if not self.options["dry_run"]:
            self.ruling.check(rules)
        for number, rule in islice(unmet(rules), UNMET_SHOWN):
            self._say(f"rule {number} ({rule}) can hold for no packet")
        return rules

    def _read_files(self) -> RuleSet:
        """Read the rules; those to be watched once more where lists were not known, which may have changed meanwhile."""
        for _ in range(READS_MAX):
            self._found = self._identities()
            rules = self.ruling.read()
            if not self.options["watch"] or rules.files == self._files:
                break
            self._files = rules.files
        return rules

    def _identities(self) -> list[Any]:
        """Tell one content of the files from another, for --watch."""
        return [_identity(path) for path in self._files] if self.options["watch"] else []

    def _started(self, rules: RuleSet) -> Filter:
        from sonde.filter.clause import TooComplexError
        from sonde.filter.filter import Filter
        from sonde.filter.installation import Settings

        options = self.options
        settings = Settings(options["dry_run"], options["drop_unparsed"], options["sources_max"])
        made = Filter(self.ruling.interface, rules, mode=options["mode"], settings=settings)
        try:
            return self._stack.enter_context(made)
        except TooComplexError as error:
            raise self.ruling.too_complex(error) from None

    def _replace(self) -> None:
        """Put the rules in force that the file has now; where they cannot be the old ones stay, and that is said."""
        from sonde.filter.clause import TooComplexError

        try:
            try:
                self._say(f"the rules were replaced: {self._filter.replace(self._read())}")
            except TooComplexError as error:
                raise self.ruling.too_complex(error) from None
        except SondeError as error:
            problems = error.problems if isinstance(error, ConfigError) else (error,)
            self._say(f"the old rules stay: {'; '.join(str(problem) for problem in problems)}")

    # ---- what is shown ----------------------------------------------------------------------------------------

    def _about(self) -> str:
        filter = self._filter
        words = [f"XDP {filter.mode}", f"{len(filter.rules):,} rule{'s' * (len(filter.rules) != 1)}"]
        if self.options["dry_run"]:
            words.append("dry run: nothing is dropped")
        return ", ".join(words)

    def _sink(self, rules: int) -> Sink:
        from sonde.cli.writing import ranked_body, writer
        from sonde.views.ranking import InOrder, Ranking
        from sonde.views.top import Top

        sort, limit = self.options["sort"], self.options["limit"]
        if sort is None:
            sort = "rule" if rules <= FEW_RULES or self.format != "table" else "packets"
        if limit is None:
            limit = FEW_RULES if self.format == "table" and not self.is_live else 0
        sort = self._dropped if sort == DROPPED else sort
        columns = self._columns()
        made = writer(self, lambda: _Body(ranked_body(sort), self), columns=columns, noun="rules")
        ranking = InOrder(sort, limit) if sort == "rule" else Ranking(sort, limit)
        return Top(made, columns=columns, ranking=ranking)

    @property
    def _dropped(self) -> str:
        """Name the column of what rules drop."""
        return WOULD_DROP if self.options["dry_run"] else DROPPED

    def _columns(self) -> tuple[str, ...]:
        """Give all for machines; for people names where there are any."""
        figures = ("action", "match", "packets", "bytes", self._dropped)
        if self.format != "table":
            return ("interface", "rule", "name", *figures, f"{self._dropped}_bytes")
        has_names = any(rule.name for rule in self._filter.rules.rules)
        return ("rule", "name", *figures) if has_names else ("rule", *figures)

    def _loop(self, sink: Sink, signals: Signals, reloading: Reloading | None, deadline: float) -> None:
        every_s = self.options["every_s"]
        next_tick = time.monotonic() + every_s
        poll = select.poll()
        for source in (signals, reloading):
            if source is not None:
                poll.register(source.fileno(), select.POLLIN)
        while True:
            left = min(next_tick, deadline) - time.monotonic()
            ready = [fd for fd, _ in poll.poll(min(max(0.0, left), 3600.0) * 1000)]
            if signals.fileno() in ready:
                return
            if reloading is not None and reloading.fileno() in ready:
                reloading.clear()
                self._replace()
            now = time.monotonic()
            if now >= deadline:
                return
            if now >= next_tick:
                if self._identities() != self._found:
                    self._replace()
                if not self._filter.is_attached:
                    return
                sink.write(self._batch())
                next_tick = max(next_tick + every_s, time.monotonic())

    def _batch(self) -> RecordBatch:
        import numpy as np

        batch = self._filter.read()
        return batch.adding({"interface": np.full(len(batch), self.ruling.interface, dtype=object)})

    # ---- what is said -----------------------------------------------------------------------------------------

    @property
    def message(self) -> str:
        """Give what was said last."""
        return self._messages[-1] if self._messages else ""

    def _say(self, message: str) -> None:
        """Say it on stderr; where a terminal is drawn on, below the table and once more at the end."""
        self._messages.append(message)
        if not self.is_live:
            self._tell_messages()

    def _tell_messages(self) -> None:
        for message in self._messages:
            say(f"sonde: {message}")
        self._messages.clear()


class _Body:
    """The table of rules, and below it what was said last."""

    def __init__(self, body: Body, filtering: Filtering) -> None:
        self._body, self._filtering = body, filtering

    def lines(self, page: Page, *, width: int | None, height: int | None) -> tuple[list[Line], int]:
        """Draw in the room there is; gives the lines, and how many rows found no room."""
        message = self._filtering.message
        lines, left_out = self._body.lines(page, width=width, height=height and height - bool(message))
        return [*lines, [(message, "yellow")]] if message else lines, left_out
