"""What the agent says of itself, as metrics: accounts, cost, exporters, its own pulse."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sonde.records.metrics import Metric, Series

if TYPE_CHECKING:
    from sonde.agent.budget import Level
    from sonde.agent.measurement import Measurement
    from sonde.exporters.exporter import Status
    from sonde.records.accounting import Accounting

Row = tuple[Mapping[str, Any], float]
Figures = tuple[Metric, Sequence[Row]]

EVENTS = "sonde.accounting.events"
SHARE = "1"


@dataclass(slots=True)
class Vitals:
    """What holds now, for the metrics of the agent itself; times are s, memory is bytes, shares are of one core."""

    start_ns: int
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    program_s: Mapping[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    overhead_share: float = 0.0
    budget_share: float | None = None
    level: Level | None = None
    steps_down: int = 0
    recoveries: int = 0
    detached_s: float = 0.0
    lateness_s: float = 0.0
    loader_restarts: int = 0

    def series(
        self,
        measurements: Sequence[Measurement],
        statuses: Mapping[str, Status],
        here: Collection[str],
        time_ns: int,
    ) -> list[Series]:
        """Give all of it as metrics; of the exporters those that are ``here`` have more than their counts."""
        figures = [
            *self._own(),
            *_accounts(measurements),
            *_tables(measurements),
            *_outcomes(statuses),
            *_pulse({name: status for name, status in statuses.items() if name in here}),
        ]
        return [_series(metric, rows, self.start_ns, time_ns) for metric, rows in figures if rows]

    def _own(self) -> list[Figures]:
        found: list[Figures] = [
            (
                _counter(
                    "sonde.agent.cpu.time", "s", "CPU time of sonde's processes, and the kernel's for them"
                ),
                [({"sonde.agent.part": part}, seconds) for part, seconds in self.cpu_s.items()],
            ),
            (
                _gauge("sonde.agent.memory.usage", "By", "Resident memory of sonde's processes"),
                [({"sonde.agent.part": part}, size) for part, size in self.memory_bytes.items()],
            ),
            (
                _gauge("sonde.agent.overhead", SHARE, "What sonde costs in all, as a share of one core"),
                [({}, self.overhead_share)],
            ),
            (
                _gauge(
                    "sonde.agent.loop.lateness", "s", "How late the loop was, at most, since the last reading"
                ),
                [({}, self.lateness_s)],
            ),
            (
                _counter(
                    "sonde.agent.loader.restarts", "{restart}", "How often the loader was started again"
                ),
                [({}, self.loader_restarts)],
            ),
            (
                _counter("sonde.program.time", "s", "Time that programs ran, in windows of statistics"),
                [(_program(key), seconds) for key, (seconds, _) in self.program_s.items()],
            ),
            (
                _counter("sonde.program.runs", "{run}", "Runs of programs, in windows of statistics"),
                [(_program(key), runs) for key, (_, runs) in self.program_s.items()],
            ),
        ]
        return found + self._degradation()

    def _degradation(self) -> list[Figures]:
        if self.budget_share is None or self.level is None:
            return []
        levels = "0 all records, 1 sampled, 2 tables only and sampled, 3 detached"
        return [
            (
                _gauge("sonde.agent.budget", SHARE, "What sonde may cost, as a share of one core"),
                [({}, self.budget_share)],
            ),
            (_gauge("sonde.agent.degradation", SHARE, levels), [({}, int(self.level))]),
            (
                _counter("sonde.agent.degradations", "{step}", "Steps down to a cheaper level"),
                [({}, self.steps_down)],
            ),
            (_counter("sonde.agent.recoveries", "{step}", "Steps back up"), [({}, self.recoveries)]),
            (
                _counter("sonde.agent.detached.time", "s", "Time in which nothing was attached"),
                [({}, self.detached_s)],
            ),
        ]


def _program(key: tuple[str, str]) -> dict[str, str]:
    return {"sonde.output": key[0], "sonde.program.name": key[1]}


def _counter(name: str, unit: str, description: str) -> Metric:
    return Metric(name, "counter", unit, description, value="value")


def _gauge(name: str, unit: str, description: str) -> Metric:
    return Metric(name, "gauge", unit, description, value="value")


def _parts(account: Accounting) -> Iterable[tuple[str, str | None, int]]:
    yield "seen", None, account.seen
    yield "delivered", None, account.delivered
    yield "aggregated", None, account.aggregated
    yield "filtered", None, account.filtered
    yield "sampled_out", None, account.sampled_out
    # A cause that has not happened is said too: a rate can be taken from its first occurrence on.
    yield from (("lost", cause, count) for cause, count in (account.lost or {"none": 0}).items())


def _accounts(measurements: Sequence[Measurement]) -> list[Figures]:
    # Counters: what is sampled out now, and counted by another later, was not seen yet.
    accounts = [(each.name, each.accounting.settled) for each in measurements]
    rows = [
        ({"sonde.output": name, "sonde.accounting.part": part, "sonde.lost.cause": cause}, count)
        for name, account in accounts
        for part, cause, count in _parts(account)
    ]
    return [
        (
            _counter(
                EVENTS, "{event}", "Events by what became of them; at rest, seen is the sum of the others"
            ),
            rows,
        ),
        (
            _gauge("sonde.accounting.in_flight", "{event}", "Events that have begun and not ended"),
            [({"sonde.output": name}, account.in_flight) for name, account in accounts],
        ),
    ]


def _tables(measurements: Sequence[Measurement]) -> list[Figures]:
    attached = [each for each in measurements if each.is_attached]
    totals = [each for measurement in measurements for each in measurement.totals]
    return [
        (
            _gauge("sonde.map.memory.usage", "By", "Memory of an output's maps in the kernel"),
            [({"sonde.output": each.name}, each.description.get("map_memory_bytes", 0)) for each in attached],
        ),
        (
            _gauge("sonde.map.utilization", SHARE, "How full an output's table or ring was when it was read"),
            [({"sonde.output": each.name}, each.fill) for each in attached],
        ),
        (
            _gauge("sonde.series.count", "{series}", "Series of a metric"),
            [({"sonde.metric.name": each.metric.name}, len(each)) for each in totals],
        ),
        (
            _counter("sonde.series.folded", "{addition}", "Additions to series that were beyond the bound"),
            [({"sonde.metric.name": each.metric.name}, each.folded) for each in totals],
        ),
        (
            _counter("sonde.series.ended", "{series}", "Series whose process has ended: exported no more"),
            [({"sonde.metric.name": each.metric.name}, each.ended) for each in totals],
        ),
    ]


def _outcomes(statuses: Mapping[str, Status]) -> list[Figures]:
    def outcomes(kind: str) -> list[Row]:
        found: list[Row] = []
        for name, status in statuses.items():
            # A cause is an attribute of all, also while there is none: a series is told by the attributes of its metric.
            of = {"sonde.exporter.name": name, "error.type": None}
            found.append(({**of, "sonde.outcome": "delivered"}, getattr(status, f"{kind}_delivered")))
            for cause, count in getattr(status, f"{kind}_dropped").items():
                found.append(({**of, "sonde.outcome": "dropped", "error.type": cause}, count))
        return found

    failures = [
        ({"sonde.exporter.name": name, "error.type": cause}, count)
        for name, status in statuses.items()
        for cause, count in status.failures.items()
    ]
    return [
        (
            _counter("sonde.exporter.points", "{point}", "Data points by what became of them"),
            outcomes("points"),
        ),
        (
            _counter("sonde.exporter.records", "{record}", "Records by what became of them"),
            outcomes("records"),
        ),
        (_counter("sonde.exporter.failures", "{attempt}", "Deliveries that failed, by cause"), failures),
    ]


def _pulse(statuses: Mapping[str, Status]) -> list[Figures]:
    def rows(pick: Callable[[Status], float]) -> list[Row]:
        return [({"sonde.exporter.name": name}, pick(status)) for name, status in statuses.items()]

    return [
        (
            _gauge("sonde.exporter.queue.length", "{item}", "What waits to be delivered"),
            rows(lambda status: status.queue_length),
        ),
        (
            _gauge("sonde.exporter.queue.capacity", "{item}", "How much may wait"),
            rows(lambda status: status.queue_capacity),
        ),
        (
            _gauge("sonde.exporter.latency", "s", "How long the last delivery took"),
            rows(lambda status: status.latency_s),
        ),
        (
            _gauge("sonde.exporter.healthy", SHARE, "1 while it delivers"),
            rows(lambda status: int(status.is_healthy)),
        ),
    ]


def _series(metric: Metric, rows: Sequence[Row], start_ns: int, time_ns: int) -> Series:
    import numpy as np

    names = dict.fromkeys(name for attributes, _ in rows for name in attributes)
    columns: dict[str, Any] = {}
    for name in names:
        values = np.empty(len(rows), dtype=object)
        values[:] = [attributes.get(name) for attributes, _ in rows]
        columns[name] = np.ma.masked_array(values, mask=[value is None for value in values])
    figures = [value for _, value in rows]
    whole = metric.kind == "counter" and all(isinstance(value, int) for value in figures)
    return Series(
        metric,
        columns,
        np.array(figures, dtype=np.uint64 if whole else np.float64),
        np.full(len(rows), start_ns, dtype=np.int64),
        time_ns,
    )
