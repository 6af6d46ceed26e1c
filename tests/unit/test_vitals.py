"""What the agent says of itself keeps its shape, whatever happens."""

from __future__ import annotations

from sonde.agent.vitals import Vitals
from sonde.exporters.exporter import Status


def shapes(status: Status) -> dict[str, set[str]]:
    """The attributes of each metric while an exporter does so."""
    found = Vitals(0).series([], {"otlp": status}, {"otlp"}, 1)
    return {series.metric.name: set(series.attributes) for series in found}


def test_a_metrics_attributes_do_not_depend_on_what_has_happened() -> None:
    """Where one appears the series are others to a receiver of differences, and began anew."""
    well = shapes(Status(points_delivered=3))
    failing = shapes(
        Status(points_delivered=3, points_dropped={"closed": 2}, records_dropped={"queue full": 1})
    )
    assert well == failing


def test_counts_of_exporters_of_a_name_add_up() -> None:
    first = Status(points_delivered=3, points_dropped={"closed": 2}, failures={"timeout": 1}, requests=2)
    second = Status(points_delivered=4, failures={"timeout": 1, "closed": 1}, queue_length=7, problem="x")
    both = first + second
    assert (both.points_delivered, both.requests, both.lost) == (7, 2, 2)
    assert both.failures == {"timeout": 2, "closed": 1}
    assert (both.queue_length, both.problem) == (7, "x")
