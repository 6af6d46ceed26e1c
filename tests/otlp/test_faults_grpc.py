"""Receivers that fail, over gRPC."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from otlp.grpc_receiver import GrpcAnswer, GrpcReceiver, grpc_receiver
from otlp.reading import attributes_of, log_records_in, points_in, summed, totals
from otlp.receiver import closed_port, until
from otlp.shapes import counted, snapshot
from otlp.test_faults_http import QUICK, answering, assert_balanced, records
from sonde.exporters.otlp import OtlpExporter, OtlpSettings
from sonde.exporters.otlp.settings import OtlpDelivery

Code = grpc.StatusCode


@pytest.fixture
def receiver() -> Iterator[GrpcReceiver]:
    with grpc_receiver() as made:
        yield made


@contextmanager
def exporting(port: int, *, timeout_s: float = 10.0, **options: Any) -> Iterator[OtlpExporter]:
    delivery = OtlpDelivery(
        f"http://127.0.0.1:{port}", protocol="grpc", timeout_s=timeout_s, headers={"X-Tenant": "me"}
    )
    made = OtlpExporter(OtlpSettings(metrics=delivery, logs=delivery, **{**QUICK, **options}))
    try:
        yield made
    finally:
        made.close(timeout_s=1)
        assert_balanced(made.status())


def test_metrics_and_records_arrive_with_the_headers(receiver: GrpcReceiver) -> None:
    with exporting(receiver.port) as exporter:
        exporter.export(snapshot(counted([5, 6])))
        exporter.log(records(3))
        exporter.close(timeout_s=30)
        metrics = [each for each in receiver.taken if hasattr(each, "resource_metrics")]
        assert totals(metrics, "sonde.test") == {(): 11}
        logs = [each for each in receiver.taken if hasattr(each, "resource_logs")]
        assert [attributes_of(each)["number"] for each in log_records_in(logs)] == [0, 1, 2]
        told = receiver.calls[0][2]
        assert told["x-tenant"] == "me"
        assert told["user-agent"].startswith("sonde/")


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_after_a_receiver_was_down_its_totals_are_right(temporality: Any) -> None:
    with closed_port() as port, exporting(port, temporality=temporality) as exporter:
        for turn in range(1, 101):
            exporter.export(snapshot(counted([turn, 2 * turn])))
        until(lambda: exporter.status().failures.get("unavailable", 0) >= 3)
        assert not exporter.status().is_healthy
        with grpc_receiver(port=port) as receiver:
            until(lambda: exporter.status().points_waiting == 0)
            assert totals(receiver.taken, "sonde.test") == {(): 300}
            assert summed(receiver.taken, "sonde.test") == 300
            assert exporter.status().points_dropped == {"superseded": 198}
            assert exporter.status().is_healthy


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.ABORTED, Code.DATA_LOSS, Code.DEADLINE_EXCEEDED])
def test_a_receiver_that_is_busy_is_asked_again(receiver: GrpcReceiver, code: grpc.StatusCode) -> None:
    receiver.answers = lambda number: GrpcAnswer(code if number < 3 else Code.OK)
    with exporting(receiver.port) as exporter:
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().points_delivered == 1)
        assert sum(exporter.status().failures.values()) == 3
        assert exporter.status().points_dropped == {}


@pytest.mark.parametrize(
    "code", [Code.INVALID_ARGUMENT, Code.UNAUTHENTICATED, Code.UNIMPLEMENTED, Code.RESOURCE_EXHAUSTED]
)
def test_a_refusal_is_final_and_counted(receiver: GrpcReceiver, code: grpc.StatusCode) -> None:
    """A receiver that is exhausted and does not say when to come again is one of them."""
    receiver.answers = lambda number: GrpcAnswer(code if not number else Code.OK)
    with exporting(receiver.port) as exporter:
        exporter.export(snapshot(counted([5, 6])))
        until(lambda: exporter.status().points_dropped)
        assert exporter.status().points_dropped == {f"status {code.name}": 2}
        assert exporter.status().requests == 1
        exporter.export(snapshot(counted([7, 8])))
        until(lambda: exporter.status().points_delivered == 2)
        assert totals(receiver.taken, "sonde.test") == {(): 15}


@pytest.mark.parametrize("code", [Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE])
def test_retry_info_is_kept(receiver: GrpcReceiver, code: grpc.StatusCode) -> None:
    receiver.answers = lambda number: GrpcAnswer(code, retry_s=0.8) if not number else GrpcAnswer()
    with exporting(receiver.port) as exporter:
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().points_delivered == 1)
        first, second = (at_s for *_, at_s in receiver.calls)
        assert second - first >= 0.75


def test_a_part_that_is_rejected_is_counted(receiver: GrpcReceiver) -> None:
    receiver.answers = lambda _: GrpcAnswer(rejected=2)
    with exporting(receiver.port) as exporter:
        exporter.export(snapshot(counted([5, 6, 7])))
        until(lambda: exporter.status().points_waiting == 0)
        assert exporter.status().points_dropped == {"rejected": 2}
        assert "2 of 3 rejected: too old" in exporter.status().problem


def test_nobody_waits_for_a_slow_receiver(receiver: GrpcReceiver) -> None:
    let_go = threading.Event()

    def answer(_: int) -> GrpcAnswer:
        return GrpcAnswer()

    call = receiver.call
    receiver.call = lambda *arguments: (let_go.wait(60), call(*arguments))[1]  # type: ignore[method-assign]
    receiver.answers = answer
    with exporting(receiver.port, timeout_s=60) as exporter:
        for turn in range(1_000):
            exporter.export(snapshot(counted([turn])))
        assert receiver.taken == []
        let_go.set()
        until(lambda: exporter.status().points_waiting == 0)
        assert totals(receiver.taken, "sonde.test") == {(): 999}


def test_an_attempt_that_takes_too_long_is_given_up_and_made_again(receiver: GrpcReceiver) -> None:
    receiver.answers = lambda number: GrpcAnswer(delay_s=10 if not number else 0)
    with exporting(receiver.port, timeout_s=0.5) as exporter:
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().points_delivered == 1)
        # On a machine that stands still for a moment the second one may take too long, too.
        status = exporter.status()
        assert status.failures == {"timeout": status.requests - 1}
        assert len(receiver.calls) > 1


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 100_000])
def test_what_is_no_grpc_is_a_failure_and_no_more(answer: bytes) -> None:
    """An endpoint of HTTP by mistake, or one that closes amid a request."""
    with answering(answer) as port, exporting(port, timeout_s=1) as exporter:
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().failures)
        assert set(exporter.status().failures) <= {"closed", "unavailable", "timeout"}


def test_the_end_waits_no_longer_than_it_may(receiver: GrpcReceiver) -> None:
    entered, let_go = threading.Event(), threading.Event()
    call = receiver.call

    def held(*arguments: Any) -> Any:
        entered.set()
        let_go.wait(60)
        return call(*arguments)

    receiver.call = held  # type: ignore[method-assign]
    with exporting(receiver.port, timeout_s=60) as exporter:
        exporter.export(snapshot(counted([5])))
        assert entered.wait(60)
        begun = time.monotonic()
        exporter.close(timeout_s=0.3)
        assert time.monotonic() - begun < 30  # of the 60 that it would take, on a slow machine
        assert exporter.status().points_dropped == {"closed": 1}
        let_go.set()


def test_a_snapshot_larger_than_grpc_takes_goes_in_several_requests(receiver: GrpcReceiver) -> None:
    """This receiver's limit is gRPC's own, 4 MiB."""
    long = "x" * 1_000
    of = snapshot(counted(range(9_000)), resource={"long": long})
    for column in of.series[0].attributes.values():
        column[:] = [f"{long}{at}" for at in range(9_000)]
    with exporting(receiver.port, timeout_s=60) as exporter:
        exporter.export(of)
        until(lambda: exporter.status().points_waiting == 0)
        assert exporter.status().points_delivered == 9_000
        assert points_in(receiver.taken) == 9_000
        assert [each.ByteSize() <= 4_000_000 for each in receiver.taken] == [True] * 3
