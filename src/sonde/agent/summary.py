"""What is said when the agent stops: what was measured, what became of it, what it cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sonde.exporters.text import visible
from sonde.records.metrics import OVERFLOW

if TYPE_CHECKING:
    from sonde.agent.runtime import Runtime
    from sonde.exporters.exporter import Status
    from sonde.records.metrics import Series

TOP = 5
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of a run as figures; ``lines`` for a person, ``as_dict`` for a machine.

    The totals are those of the last page of metrics, to the last event.
    """

    seconds: float
    outputs: dict[str, dict[str, Any]]
    metrics: dict[str, dict[str, Any]]
    exporters: dict[str, dict[str, Any]]
    cost: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Give the figures under their names."""
        return {
            "seconds": round(self.seconds, 3),
            "outputs": self.outputs,
            "metrics": self.metrics,
            "exporters": self.exporters,
            "cost": self.cost,
        }

    def lines(self) -> Iterator[str]:
        """Say it to a person."""
        yield f"measured {self.seconds:.1f} s"
        for name, accounting in self.outputs.items():
            yield f"  {name}: {accounting['equation']}"
        for name, found in self.metrics.items():
            tops = ", ".join(f"{visible(who)} {count:,}" for who, count in found["top"].items())
            # Their counts are in the accounting above, and no longer in the total.
            ended = f" ({found['ended']:,} more have ended)" if found["ended"] else ""
            yield f"  {name}: {found['total']:,} in {found['series']:,} series{ended}" + (
                f": {tops}" if tops else ""
            )
        for name, found in self.exporters.items():
            yield f"  {name}: {_delivered(found)}"
        memory = sum(self.cost["memory_bytes"].values()) / 1e6
        cpu = ", ".join(f"{part} {seconds:.2f} s" for part, seconds in self.cost["cpu_s"].items())
        if self.cost["detached_s"]:
            yield f"  budget: nothing was measured for {self.cost['detached_s']:.1f} s, for it cost too much"
        yield f"  cost: {self.cost['share']:.2%} of a core ({cpu}), {memory:.0f} MB; {self.cost['start_s']:.2f} s to start"


def summary_of(runtime: Runtime, seconds: float) -> Summary:
    """Sum up a runtime that has finished."""
    series = {
        each.metric.name: each for each in (runtime.board.snapshot.series if runtime.board.snapshot else ())
    }
    measured = {totals.metric.name: totals for each in runtime.measurements for totals in each.totals}
    return Summary(
        seconds,
        {
            each.name: {**each.accounting.as_dict(), "equation": str(each.accounting)}
            for each in runtime.every_measurement
        },
        {
            name: {**_metric(series[name]), "ended": totals.ended}
            for name, totals in measured.items()
            if name in series
        },
        {name: _exporter(status) for name, status in runtime.statuses().items()},
        {
            "share": (sum(runtime.cost.cpu_s.values()) - runtime.cost.start_s) / seconds
            if seconds > 0
            else 0.0,
            "start_s": runtime.cost.start_s,
            "cpu_s": dict(runtime.cost.cpu_s),
            "memory_bytes": dict(runtime.cost.memory_bytes),
            "detached_s": round(runtime.vitals.detached_s, 3),
        },
    )


def _metric(series: Series) -> dict[str, Any]:
    """Give the total, and the largest by the first attribute that anything has."""
    values = series.values.reshape(len(series), -1).sum(axis=1).tolist()
    overflow = series.attributes.get(OVERFLOW)
    marks = overflow.tolist() if overflow is not None else [None] * len(values)
    lists = (column.tolist() for column in series.attributes.values())
    names = next((each for each in lists if any(name is not None for name in each)), [None] * len(values))
    sums: dict[str, int] = {}
    for name, mark, value in zip(names, marks, values, strict=True):
        label = OTHER if mark else "-" if name is None else str(name)
        sums[label] = sums.get(label, 0) + value
    top = dict(sorted(sums.items(), key=lambda each: -each[1])[:TOP])
    return {"total": sum(values), "series": len(values), "top": top}


def _exporter(status: Status) -> dict[str, Any]:
    return {
        "points_delivered": status.points_delivered,
        "points_dropped": dict(status.points_dropped),
        "records_delivered": status.records_delivered,
        "records_dropped": dict(status.records_dropped),
        "failures": dict(status.failures),
        "requests": status.requests,
        "problem": status.problem,
    }


def _delivered(found: dict[str, Any]) -> str:
    parts = [f"{found['requests']:,} requests"]
    for kind in ("points", "records"):
        dropped = sum(found[f"{kind}_dropped"].values())
        if found[f"{kind}_delivered"] or dropped:
            causes = ", ".join(f"{cause} {count:,}" for cause, count in found[f"{kind}_dropped"].items())
            parts.append(
                f"{found[f'{kind}_delivered']:,} {kind} delivered, {dropped:,} dropped"
                + (f" ({causes})" if causes else "")
            )
    if found["problem"]:
        parts.append(found["problem"])
    return "; ".join(parts)
