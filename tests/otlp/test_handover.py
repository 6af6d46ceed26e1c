"""An exporter that goes on where another ends: nothing is told twice, and what waited is delivered."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from otlp.reading import attributes_of, log_records_in, summed, totals
from otlp.receiver import Answer, HttpReceiver, closed_port, http_receiver, until
from otlp.shapes import TIME_NS, counted, snapshot
from otlp.test_faults_http import QUICK, assert_balanced, records
from sonde.exporters.otlp import OtlpExporter, OtlpSettings
from sonde.exporters.otlp.settings import OtlpDelivery, Temporality

SECOND = 1_000_000_000
MADE: dict[str, Any] = {"service.name": "made"}


def exporter(port: int, *, logs: bool = True, **options: Any) -> OtlpExporter:
    delivery = OtlpDelivery(f"http://127.0.0.1:{port}")
    chosen = {"logs": delivery} if logs else {}
    return OtlpExporter(OtlpSettings(metrics=delivery, **chosen, **{**QUICK, **options}))


def hand_over(former: OtlpExporter, made: OtlpExporter) -> threading.Thread:
    """As a reload does: beside what goes on."""
    made.hold()
    thread = threading.Thread(target=lambda: made.succeed(former, timeout_s=30))
    thread.start()
    return thread


def messages(receiver: HttpReceiver, kind: str) -> list[Any]:
    return [each.message for each in receiver.taken if hasattr(each.message, f"resource_{kind}")]


def numbers(receiver: HttpReceiver) -> list[Any]:
    return [attributes_of(each)["number"] for each in log_records_in(messages(receiver, "logs"))]


@pytest.mark.parametrize("delay_s", [0.0, 1.0], ids=["at once", "later"])
@pytest.mark.parametrize("temporality", ["delta", "cumulative"])
def test_nothing_is_told_twice(temporality: Temporality, delay_s: float) -> None:
    """Also where the receiver has not answered yet when another exporter takes over."""
    with http_receiver() as receiver:
        receiver.answers = lambda _: Answer(delay_s=delay_s)
        former, made = (exporter(receiver.port, temporality=temporality) for _ in range(2))
        former.export(snapshot(counted([5])))
        until(lambda: receiver.requests)
        handing = hand_over(former, made)
        made.export(snapshot(counted([7], time_ns=TIME_NS + SECOND)))
        handing.join()
        made.close(timeout_s=30)
        taken = messages(receiver, "metrics")

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
        handing = hand_over(former, made)
        made.export(snapshot(counted([9], time_ns=TIME_NS + SECOND)))
        made.log(records(2))
        handing.join()
        made.close(timeout_s=30)
        assert sum(totals(messages(receiver, "metrics"), "sonde.test").values()) == 15
        assert numbers(receiver) == [0, 1, 2, 0, 1]

    both = former.status() + made.status()
    assert_balanced(both)
    assert both.records_delivered == 5
    assert both.records_dropped == {}


def test_what_is_on_its_way_arrives_once() -> None:
    """A receiver that takes its time: the former's attempt ends, the rest is the other one's."""
    with http_receiver() as receiver:
        receiver.answers = lambda _: Answer(delay_s=0.5)
        former, made = exporter(receiver.port), exporter(receiver.port)
        former.log(records(20_000))
        until(lambda: receiver.requests)
        hand_over(former, made).join()
        made.close(timeout_s=30)
        assert sorted(numbers(receiver)) == list(range(20_000))

    both = former.status() + made.status()
    assert both.records_dropped == {}


def test_a_signal_that_is_sent_no_more_is_delivered_to_the_end() -> None:
    with http_receiver() as receiver:
        former, made = exporter(receiver.port), exporter(receiver.port, logs=False)
        former.log(records(3))
        hand_over(former, made).join()
        assert numbers(receiver) == [0, 1, 2]
        made.close(timeout_s=30)


def test_records_have_the_resource_that_they_are_of() -> None:
    with closed_port() as nowhere, http_receiver() as receiver:
        former, made = exporter(nowhere), exporter(receiver.port)
        made.describe(MADE)
        former.log(records(3))
        hand_over(former, made).join()
        made.close(timeout_s=30)
        (request,) = messages(receiver, "logs")

    (resource,) = request.resource_logs
    assert [each.value.string_value for each in resource.resource.attributes] == ["made"]


def test_the_end_may_come_while_it_takes_over() -> None:
    with http_receiver() as receiver:
        receiver.answers = lambda _: Answer(delay_s=1)
        former, made = exporter(receiver.port), exporter(receiver.port)
        former.export(snapshot(counted([5])))
        until(lambda: receiver.requests)
        handing = hand_over(former, made)
        made.export(snapshot(counted([7], time_ns=TIME_NS + SECOND)))
        made.log(records(2))
        made.close(timeout_s=30)
        handing.join()
        assert sum(totals(messages(receiver, "metrics"), "sonde.test").values()) == 7
        assert numbers(receiver) == [0, 1]


def test_a_part_that_was_delivered_is_not_told_again() -> None:
    """Of a snapshot of several requests some had an answer before another exporter took over."""
    with http_receiver() as receiver:
        answered = iter([Answer(), Answer()])
        receiver.answers = lambda _: next(answered, Answer(503))
        small = {"temporality": "delta", "request_size_max_bytes": 1_000}
        former, made = (exporter(receiver.port, logs=False, **small) for _ in range(2))
        former.export(snapshot(counted([1] * 100)))
        until(lambda: former.status().failures)
        receiver.answers = lambda _: Answer()
        handing = hand_over(former, made)
        made.export(snapshot(counted([2] * 100, time_ns=TIME_NS + SECOND)))
        handing.join()
        made.close(timeout_s=30)
        assert summed(messages(receiver, "metrics"), "sonde.test") == 200


def test_who_comes_back_does_not_tell_everything_again() -> None:
    with http_receiver() as receiver:
        former, made = (exporter(receiver.port, temporality="delta") for _ in range(2))
        former.export(snapshot(counted([5])))
        former.close(timeout_s=30)
        made.resume(former)
        made.export(snapshot(counted([7], time_ns=TIME_NS + SECOND)))
        made.close(timeout_s=30)
        assert summed(messages(receiver, "metrics"), "sonde.test") == 7
