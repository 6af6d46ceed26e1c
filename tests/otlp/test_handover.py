"""An exporter that goes on where another ends: nothing is told twice, and what waited is delivered."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from otlp.reading import attributes_of, data_of, log_records_in, metrics_in, summed, totals
from otlp.receiver import Answer, HttpReceiver, closed_port, full_listener, http_receiver, until
from otlp.shapes import TIME_NS, counted, snapshot
from otlp.test_faults_http import QUICK, assert_balanced, records
from sonde.agent.endings import Endings
from sonde.exporters.otlp import OtlpExporter, OtlpSettings
from sonde.exporters.otlp.settings import OtlpDelivery, Temporality

SECOND = 1_000_000_000
MADE: dict[str, Any] = {"service.name": "made"}


def exporter(port: int, *, logs: bool = True, timeout_s: float = 10.0, **options: Any) -> OtlpExporter:
    delivery = OtlpDelivery(f"http://127.0.0.1:{port}", timeout_s=timeout_s)
    chosen = {"logs": delivery} if logs else {}
    return OtlpExporter(OtlpSettings(metrics=delivery, **chosen, **{**QUICK, **options}))


def hand_over(former: OtlpExporter, made: OtlpExporter) -> threading.Thread:
    """As a reload does: beside what goes on."""
    made.hold()
    thread = threading.Thread(target=lambda: made.succeed(former))
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


def test_two_reloads_within_one_attempt_hand_everything_on() -> None:
    """The second takes over from one that has nothing yet: it waits until that has taken over itself."""
    endings = Endings(say=lambda _: None)
    with http_receiver() as receiver:
        receiver.answers = lambda _: Answer(delay_s=1.0)
        first, second, third = (exporter(receiver.port, temporality="delta") for _ in range(3))
        first.export(snapshot(counted([5])))
        first.log(records(3))
        until(lambda: len(receiver.requests) >= 2)
        first.log(records(2_000, first=3))
        for former, made in ((first, second), (second, third)):
            made.hold()
            endings.begin(former, partial(made.succeed, former), is_succeeded=True)
        third.export(snapshot(counted([7], time_ns=TIME_NS + SECOND)))
        third.log(records(2, first=2_003))
        endings.wait(timeout_s=30)
        third.close(timeout_s=30)
        assert summed(messages(receiver, "metrics"), "sonde.test") == 7
        assert sorted(numbers(receiver)) == list(range(2_005))
    assert_balanced(first.status() + second.status() + third.status())


def test_metrics_that_were_off_for_a_while_go_on() -> None:
    """Logs were sent meanwhile, by an exporter that sent no metrics."""
    with http_receiver() as receiver:
        delivery = OtlpDelivery(f"http://127.0.0.1:{receiver.port}")
        without = OtlpExporter(OtlpSettings(logs=delivery, temporality="delta", **QUICK))
        former, made = (exporter(receiver.port, temporality="delta") for _ in range(2))
        former.export(snapshot(counted([5])))
        hand_over(former, without).join()
        without.export(snapshot(counted([6], time_ns=TIME_NS + SECOND)))
        hand_over(without, made).join()
        made.export(snapshot(counted([7], time_ns=TIME_NS + 2 * SECOND)))
        made.close(timeout_s=30)
        assert summed(messages(receiver, "metrics"), "sonde.test") == 7


def test_differences_go_on_after_cumulative_counts() -> None:
    with http_receiver() as receiver:
        ways: tuple[Temporality, ...] = ("delta", "cumulative", "delta")
        each = [exporter(receiver.port, temporality=way, logs=False) for way in ways]
        for turn, made in enumerate(each):
            if turn:
                hand_over(each[turn - 1], made).join()
            made.export(snapshot(counted([5 + turn], time_ns=TIME_NS + turn * SECOND)))
            until(lambda turn=turn: len(receiver.taken) > turn)
        each[-1].close(timeout_s=30)
        assert [
            data_of(metric).data_points[0].as_int for metric in metrics_in(messages(receiver, "metrics"))
        ] == [5, 6, 2]


def test_a_receiver_that_lets_nobody_connect_keeps_nothing() -> None:
    """As behind a firewall that drops what begins a connection: the work of that attempt is handed on, too."""
    with full_listener() as away, http_receiver() as receiver:
        former, made = exporter(away, timeout_s=1.0), exporter(receiver.port)
        former.log(records(9_000))
        former.export(snapshot(counted([5])))
        until(lambda: former.status().failures["timeout"] >= 2)
        former.log(records(100, first=9_000))
        hand_over(former, made).join()
        made.close(timeout_s=30)
        assert sorted(numbers(receiver)) == list(range(9_100))
    assert_balanced(former.status() + made.status())
