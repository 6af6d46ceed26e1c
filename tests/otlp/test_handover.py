"""An exporter that goes on where another ends: nothing is told twice, and what waited is delivered."""

from __future__ import annotations

from typing import Any

import pytest

from otlp.reading import attributes_of, log_records_in, summed, totals
from otlp.receiver import closed_port, http_receiver, until
from otlp.shapes import TIME_NS, counted, snapshot
from otlp.test_faults_http import QUICK, assert_balanced, records
from sonde.exporters.otlp import OtlpExporter, OtlpSettings
from sonde.exporters.otlp.settings import OtlpDelivery, Temporality

SECOND = 1_000_000_000


def exporter(port: int, *, temporality: Temporality = "cumulative") -> OtlpExporter:
    delivery = OtlpDelivery(f"http://127.0.0.1:{port}")
    return OtlpExporter(OtlpSettings(metrics=delivery, logs=delivery, temporality=temporality, **QUICK))


@pytest.mark.parametrize("temporality", ["delta", "cumulative"])
def test_nothing_is_told_twice(temporality: Temporality) -> None:
    with http_receiver() as receiver:
        former, made = (exporter(receiver.port, temporality=temporality) for _ in range(2))
        former.export(snapshot(counted([5])))
        until(lambda: former.status().points_delivered == 1)
        made.succeed(former, timeout_s=10)
        made.export(snapshot(counted([7], time_ns=TIME_NS + SECOND)))
        made.close(timeout_s=30)
        taken = [each.message for each in receiver.taken]

    if temporality == "delta":
        assert summed(taken, "sonde.test") == 7
    else:
        assert sum(totals(taken, "sonde.test").values()) == 7


@pytest.mark.parametrize("is_stopped", [True, False], ids=["between attempts", "before any"])
def test_what_waits_is_delivered_by_who_comes_later(*, is_stopped: bool) -> None:
    """Records in their order, and a series that has ended meanwhile with its last count."""
    with closed_port() as nowhere, http_receiver() as receiver:
        former, made = exporter(nowhere), exporter(receiver.port)
        former.export(snapshot(counted([5, 6])))
        former.log(records(3))
        if is_stopped:
            until(lambda: former.status().failures.get("unavailable", 0) > 3)
        made.succeed(former, timeout_s=10)
        made.export(snapshot(counted([9], time_ns=TIME_NS + SECOND)))
        made.log(records(2))
        made.close(timeout_s=30)
        found: list[Any] = [each.message for each in receiver.taken]

    assert (
        sum(totals([each for each in found if hasattr(each, "resource_metrics")], "sonde.test").values())
        == 15
    )
    logs = [each for each in found if hasattr(each, "resource_logs")]
    assert [attributes_of(each)["number"] for each in log_records_in(logs)] == [0, 1, 2, 0, 1]
    both = former.status() + made.status()
    assert_balanced(both)
    assert both.records_delivered == 5
    assert both.records_dropped == {}
