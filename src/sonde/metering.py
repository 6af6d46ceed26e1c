"""Probes in an application's own OpenTelemetry: observable instruments over what they count."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from sonde.enrich.who import DEFAULT, Who
from sonde.errors import ProbeError, SondeError
from sonde.exporters.instruments import DOCUMENT_METRIC, Instruments
from sonde.probe import Probe, Selection, Table
from sonde.probes import probe
from sonde.records.totals import SERIES_MAX
from sonde.run import Run

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

    from sonde.records.metrics import Metric
    from sonde.records.model import RecordBatch

DOCUMENT_PROBE = "syscalls"
LIVES_MAX = 64
"""So many batches of processes' lives are taken in for one collection: it has to end."""


class Identities:
    """Knows whose rows are, for all tables of an export: by the stream of processes' lives, where ``by`` needs it.

    Of a process that has ended before the collection nothing else tells. Collections may come from several threads.
    """

    def __init__(self, by: Sequence[str]) -> None:
        if isinstance(by, str):
            raise SondeError(
                "export to OpenTelemetry", why=f"by={by!r} is a text", hint=f'give a list: ["{by}"]'
            )
        self._who = Who(by=by)
        self._lock = threading.Lock()
        is_needed = any(word != "pid" for word in by)
        self.lives = Run(probe("processes"), "lifecycle", values={"cgroups": True}) if is_needed else None

    @property
    def attributes(self) -> tuple[str, ...]:
        """Name the columns that are added."""
        return self._who.attributes

    def identify(self, rows: RecordBatch) -> RecordBatch:
        """Add the columns to rows that were just read, by all that happened before."""
        with self._lock:
            self._take_lives()
            return self._who.identify(rows)

    def _take_lives(self) -> None:
        if self.lives is None:
            return
        for _ in range(LIVES_MAX):
            if not len(batch := self.lives.read()):
                return
            self._who.take(batch)


class Export:
    """Probes that count for a meter; a context manager. ``close`` ends them, once the meter's last collection is done."""

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._instruments: list[Instruments] = []

    def own(self, run: Run) -> None:
        """Own a run."""
        self._runs.append(run)

    def add(self, instruments: Instruments) -> None:
        """Own what reads one of the runs."""
        self._instruments.append(instruments)

    @property
    def errors(self) -> int:
        """Count readings that failed."""
        return sum(each.errors for each in self._instruments)

    @property
    def error(self) -> SondeError | None:
        """Give why the last reading failed, if it did."""
        return next((each.error for each in self._instruments if each.error is not None), None)

    @property
    def folded(self) -> int:
        """Count additions to series that there was no room for: they are in ``otel.metric.overflow``."""
        return sum(each.folded for each in self._instruments)

    def close(self) -> None:
        """Detach and free everything; the instruments give nothing from now on. Again is fine."""
        for instruments in self._instruments:
            instruments.close()
        for run in self._runs:
            run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def export_to_opentelemetry(
    meter: Meter,
    *probes: Probe | str,
    by: Sequence[str] = DEFAULT,
    selection: Selection | None = None,
    values: Mapping[str, Any] | None = None,
    series_max: int = SERIES_MAX,
) -> Export:
    """Count with probes for a meter of the application's own, whose reader sets the interval.

    ``probes`` are names (``syscalls``, or ``syscalls.latency`` for one of its tables) or probes; ``syscalls`` without
    any. Their metrics have their names, by ``by``: executable, unit, container, … (sonde.enrich.who). Beside them
    system calls are ``ebpf.syscall.count`` by ``pid``, as in the founding document. ``selection`` and ``values`` (knobs)
    are as for ``Run``. ``series_max`` bounds each instrument's series, see ``Instruments``.

    Raises what starting a probe raises, and SondeError where an export that is still open gives this meter one of the
    metrics; then nothing is left running. Whoever calls it closes what it gives. Needs
    CAP_BPF and CAP_PERFMON.
    """
    made = Export()
    document = [DOCUMENT_METRIC]
    identities = Identities(by)
    try:
        if identities.lives is not None:
            identities.lives.start()
            made.own(identities.lives)
        for found, table in _tables(probes or (DOCUMENT_PROBE,)):
            run = Run(found, table.name, selection=selection, values=values, differences=True)
            run.start()
            made.own(run)
            # Of two tables that count system calls, one counts them for the document.
            more = [document.pop()] if document and found.name == DOCUMENT_PROBE else []
            made.add(_instruments(meter, run, table, more, identities, series_max=series_max))
    except BaseException:
        made.close()
        raise
    return made


def _instruments(
    meter: Meter, run: Run, table: Table, more: list[Metric], identities: Identities, *, series_max: int
) -> Instruments:
    def read() -> RecordBatch:
        return identities.identify(run.read())

    attributes = {metric.name: identities.attributes for metric in table.metrics}
    metrics = [*table.metrics, *more]
    return Instruments(meter, metrics, read, attributes=attributes, series_max=series_max)


def _tables(probes: Iterable[Probe | str]) -> list[tuple[Probe, Table]]:
    """Find the tables that are meant: those that a probe counts unattended, or the one that is named."""
    found = []
    for each in probes:
        name, _, output = ("", "", "") if isinstance(each, Probe) else each.partition(".")
        meant = each if isinstance(each, Probe) else probe(name)
        tables = [table for table in meant.tables if table.metrics]
        wanted = (output,) if output else meant.unattended
        chosen = [table for table in tables if table.name in wanted] or ([] if output else tables[:1])
        if not chosen:
            hint = f"valid: {', '.join(f'{meant.name}.{table.name}' for table in tables) or 'none'}"
            raise ProbeError(
                "export to OpenTelemetry",
                why=f"{meant.name}.{output} is no table with metrics"
                if output
                else f"{meant.name} has no metrics",
                hint=hint,
            )
        found += [(meant, table) for table in chosen]
    return found
