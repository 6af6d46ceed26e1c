"""A profile on its way: what is said of it meanwhile, who shows it, and the file that it ends in."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from sonde.cli.measurement import Measurement
from sonde.cli.profile_formats import maker_of
from sonde.cli.standard_streams import is_heard, say, width
from sonde.probe import FREQUENCY, Table

if TYPE_CHECKING:
    from sonde.records.accounting import Accounting
    from sonde.records.model import RecordBatch, Sink
    from sonde.records.profile import Measured, Profile

_NS = 1_000_000_000


def frequency_of(asked: Measurement) -> float:
    """Give how often samples are taken, as asked for or by default; 0 where a probe does not sample."""
    if FREQUENCY not in asked.probe.knobs:
        return 0.0
    return float(asked.values.get(FREQUENCY.name, FREQUENCY.default))


class Progress:
    """What a profile is of, from now on: of a running probe, or of a capture."""

    def __init__(self, asked: Measurement) -> None:
        assert isinstance(asked.output, Table), "profile is a verb for tables"
        self._asked, self._weight = asked, asked.output.weight
        self._captured = asked.captured
        self._began_ns = asked.began_ns if asked.captured is None else asked.captured.began_ns
        self._line = ""

    def measured(self, batch: RecordBatch) -> Measured:
        """Say what a batch is of."""
        from sonde.records.profile import Measured

        captured, asked = self._captured, self._asked
        measured = Measured(
            title=asked.title,
            request=asked.request,
            host=os.uname().nodename if captured is None else captured.host,
            began_ns=self._began_ns,
            # A batch has the moment at which it was read: what came after that is no part of it.
            duration_ns=max(0, batch.time_ns - self._began_ns),
            weight=self._weight,
            frequency_hz=frequency_of(asked) if captured is None else captured.frequency_hz,
            accounting=batch.accounting,
        )
        self._line = self._headline(batch, measured)
        return measured

    def _headline(self, batch: RecordBatch, measured: Measured) -> str:
        from sonde.records.profile import COUNT
        from sonde.views.profile import amounts

        total = count = 0
        if len(batch):
            weights = batch[measured.weight]
            total = int(weights.sum()) * batch.scale
            count = int(batch.columns.get(COUNT, weights).sum()) * batch.scale
        parts = [*amounts(measured, total, count), f"lost {batch.accounting.lost_total:,}"]
        if self._captured is None:
            parts.append(own_cost(measured.duration_ns / _NS))
        return " · ".join(parts)

    @property
    def line(self) -> str:
        """Say in a line how much there is of the last batch."""
        return self._line

    def notes(self) -> Sequence[str]:
        """Give the lines below a heading."""
        return [*self._asked.notes(), *([self._line] if self._line else [])]


def own_cost(seconds: float) -> str:
    """Say what this process has taken of the CPUs so far."""
    from sonde.views.cell import duration

    own_s = time.process_time()
    # Of less than a second it would be the share of what starting takes.
    share = f", {100 * own_s / seconds:.1f} % of a core" if seconds >= 1 else ""
    return f"sonde itself {duration(own_s * _NS)} of CPU{share}"


# ---- functions ----------------------------------------------------------------------------------------------


def functions_sink(asked: Measurement) -> Sink:
    """Make the sink that shows the hottest functions."""
    from sonde.cli.writing import ranked_body, writer
    from sonde.records.profile import Measured
    from sonde.views.functions import COLUMNS, HotFunctions, machine_columns
    from sonde.views.last import Last

    assert isinstance(asked.output, Table), "profile is a verb for tables"
    columns = COLUMNS if asked.format == "table" else machine_columns(Measured(weight=asked.output.weight))
    progress = Progress(asked)
    sort = asked.options["sort"] or "self"
    drawn = partial(ranked_body, f"{sort}_share")
    target = writer(replace(asked, notes=progress.notes), drawn, columns=columns, noun="functions")
    sink = HotFunctions(target, measured=progress.measured, columns=columns, sort=sort, limit=asked.limit())
    return Last(sink) if asked.only_at_end else sink


# ---- files --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ProfileFile:
    """A sink: keeps the last batch, and at the end makes the file of it, and says on stderr what is in it."""

    asked: Measurement
    make: Callable[[Profile], bytes]
    progress: Progress
    last: RecordBatch | None = None
    has_line: bool = False

    def write(self, batch: RecordBatch) -> None:
        """Take a batch: a table's rows are cumulative, so that it holds all before."""
        self.last = batch
        if batch.accounting.final or self.asked.command or self.asked.captured or not is_heard():
            return
        from sonde.views.line import cut

        self.progress.measured(batch)
        # A line that took two would stay there when the next one comes, or when the terminal has echoed ^C behind it.
        room = (width() or 0) - len("^C")
        say(f"\r\x1b[K{cut(self.progress.line, room)}", end="")
        self.has_line = True

    def close(self, accounting: Accounting) -> None:
        """Write the file."""
        from sonde.records.profile import ProfileReader

        assert self.last is not None, "the last batch comes before the end"
        measured = self.progress.measured(self.last)
        profile = ProfileReader().read(self.last, measured)
        data = self.make(profile)
        file = self.asked.destination.file
        file.flush()
        file.buffer.write(data)
        file.buffer.flush()
        self._tell(profile, len(data))

    def _tell(self, profile: Profile, size_bytes: int) -> None:
        from sonde.views.cell import size
        from sonde.views.equation import equation
        from sonde.views.line import plain, sentence
        from sonde.views.profile import facts, remarks

        if self.has_line:
            say("\r\x1b[K", end="")
        measured, columns = profile.measured, width()
        room = columns and columns - 2
        lines = [f"{self.asked.name}: {', '.join(facts(profile))}"]
        account = equation(measured.accounting, filtered=self.asked.filtered, width=room)
        lines += [f"  {plain(line)}" for line in account]
        lines += [f"  {line}" for each in remarks(profile) for line in sentence(each, room)]
        path = self.asked.options["path"]
        where = f"{size(size_bytes)} in {path}" if path else size(size_bytes)
        if self.asked.captured is None:
            where += f"; {own_cost(measured.duration_ns / _NS)}"
        say("\n".join([*lines, where]))


def file_sink(asked: Measurement) -> Sink:
    """Make the sink that writes a file."""
    return ProfileFile(asked, maker_of(asked.format), Progress(asked))
