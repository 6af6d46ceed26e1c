"""Receivers that fail, over HTTP: totals are right afterwards, what is not delivered is counted, nobody waits."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from otlp.reading import attributes_of, log_records_in, points_in, summed, totals
from otlp.receiver import Answer, HttpReceiver, closed_port, full_listener, http_receiver, until
from otlp.shapes import TIME_NS, counted, metric, series, snapshot
from sonde.exporters.exporter import Status
from sonde.exporters.otlp import OtlpExporter, OtlpSettings
from sonde.exporters.otlp.http import HttpTransport
from sonde.exporters.otlp.settings import OtlpDelivery
from sonde.exporters.otlp.signal import LOGS
from sonde.records.model import Column, RecordBatch, Schema

QUICK: dict[str, Any] = {"backoff_initial_s": 0.02, "backoff_max_s": 0.1}


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as made:
        yield made


@contextmanager
def exporting(port: int, *, timeout_s: float = 10.0, **options: Any) -> Iterator[OtlpExporter]:
    delivery = OtlpDelivery(f"http://127.0.0.1:{port}", timeout_s=timeout_s)
    made = OtlpExporter(OtlpSettings(metrics=delivery, logs=delivery, **{**QUICK, **options}))
    try:
        yield made
    finally:
        made.close(timeout_s=1)
        assert_balanced(made.status())


def assert_balanced(status: Status) -> None:
    """Offered is delivered, dropped or waiting."""
    points = status.points_delivered + status.points_waiting + sum(status.points_dropped.values())
    records = status.records_delivered + status.records_waiting + sum(status.records_dropped.values())
    assert (status.points_offered, status.records_offered) == (points, records)


def records(count: int, *, first: int = 0) -> RecordBatch:
    schema = Schema("test.events", (Column("number"),))
    return RecordBatch(schema, {"number": np.arange(first, first + count)}, time_ns=TIME_NS)


# ---- down for a while -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_after_a_receiver_was_down_its_totals_are_right(temporality: Any) -> None:
    """300 snapshots while it is down, in which series end and others begin: in the end not one count is missing."""
    with closed_port() as port, exporting(port, temporality=temporality) as exporter:
        for turn in range(300):
            # Every process lives for three snapshots, and calls seven times in each.
            pids = list(range(turn, turn + 3))
            counts = [7 * (turn + 3 - pid) for pid in pids]
            exporter.export(snapshot(series(metric(), {"pid": pids}, counts, time_ns=TIME_NS + turn)))
        until(lambda: exporter.status().failures.get("unavailable", 0) >= 3)
        assert not exporter.status().is_healthy
        assert "refused" in exporter.status().problem
        with http_receiver(port=port) as receiver:
            until(lambda: exporter.status().points_waiting == 0)
            status = exporter.status()
            assert status.is_healthy
            assert not status.problem
            found = receiver.metric_requests()
            pids_told = totals(found, "sonde.test", "pid")
            # 300 have ended with three times seven; two were still at it.
            assert sum(pids_told.values()) == 21 * 300 + 14 + 7
            assert summed(found, "sonde.test") == 21 * 300 + 14 + 7
            assert status.points_offered == 900
            assert status.points_delivered == 302
            assert status.points_dropped == {"superseded": 598}


def test_series_that_ended_meanwhile_are_kept_up_to_a_bound() -> None:
    with closed_port() as port, exporting(port, ended_max=100) as exporter:
        for turn in range(307):
            exporter.export(snapshot(series(metric(), {"pid": [turn]}, [7], time_ns=TIME_NS + turn)))
        with http_receiver(port=port) as receiver:
            until(lambda: exporter.status().points_waiting == 0)
            dropped = exporter.status().points_dropped
            assert summed(receiver.metric_requests(), "sonde.test") == 7 * (307 - dropped["ended"])
            # The bound and the last one, of what waits; and as many of what was on its way just then.
            assert 101 <= 307 - dropped["ended"] <= 2 * 101


def test_memory_is_bounded_while_a_receiver_is_down() -> None:
    """Records: so many, and so many bytes; metrics: one snapshot."""
    with (
        closed_port() as port,
        exporting(port, queue_records_max=1_000, queue_bytes_max=100_000) as exporter,
    ):
        for turn in range(200):
            exporter.log(records(100, first=100 * turn))
            assert exporter.status().queue_length <= 1_000
        status = exporter.status()
        assert status.records_offered == 20_000
        assert status.records_dropped["queue full"] >= 20_000 - 1_000 - 10_000
        assert status.queue_capacity == 1_000
        with http_receiver(port=port) as receiver:
            until(lambda: exporter.status().records_waiting == 0)
            told = [attributes_of(each)["number"] for each in log_records_in(receiver.log_requests())]
            assert len(told) == len(set(told)) == exporter.status().records_delivered
            assert told[-1] == 19_999  # the newest are kept


def test_one_batch_that_is_larger_than_the_queue_is_cut() -> None:
    with closed_port() as port, exporting(port, queue_records_max=10) as exporter:
        exporter.log(records(25))
        assert exporter.status().records_dropped == {"queue full": 15}


# ---- answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_receiver_that_is_busy_is_asked_again(receiver: HttpReceiver, status: int) -> None:
    receiver.answers = lambda number: Answer(status) if number < 3 else Answer()
    with exporting(receiver.port) as exporter:
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().points_delivered == 1)
        assert exporter.status().failures == {f"status {status}": 3}
        assert exporter.status().requests == 4
        assert exporter.status().points_dropped == {}
        assert totals(receiver.metric_requests(), "sonde.test") == {(): 5}


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 301])
def test_a_refusal_is_final_and_counted(receiver: HttpReceiver, status: int) -> None:
    receiver.answers = lambda number: Answer(status, body=b"no such tenant") if not number else Answer()
    with exporting(receiver.port) as exporter:
        exporter.export(snapshot(counted([5, 6])))
        until(lambda: exporter.status().points_dropped)
        told = exporter.status()
        assert told.points_dropped == {f"status {status}": 2}
        assert told.requests == 1
        assert not told.is_healthy
        assert "no such tenant" in told.problem
        exporter.export(snapshot(counted([7, 8])))
        until(lambda: exporter.status().points_delivered == 2)
        assert exporter.status().is_healthy
        assert totals(receiver.metric_requests(), "sonde.test") == {(): 15}


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_kept(receiver: HttpReceiver, form: str) -> None:
    import email.utils

    def answer(number: int) -> Answer:
        after = "1" if form == "seconds" else email.utils.formatdate(time.time() + 2, usegmt=True)
        return Answer(503, {"Retry-After": after}) if not number else Answer()

    receiver.answers = answer
    with exporting(receiver.port) as exporter:
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().points_delivered == 1)
        first, second = (each.at_s for each in receiver.requests)
        assert second - first >= 0.9


def test_a_part_that_is_rejected_is_counted(receiver: HttpReceiver) -> None:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

    said = ExportMetricsServiceResponse()
    said.partial_success.rejected_data_points = 2
    said.partial_success.error_message = "out of\norder"
    receiver.answers = lambda _: Answer(body=said.SerializeToString())
    with exporting(receiver.port) as exporter:
        exporter.export(snapshot(counted([5, 6, 7])))
        until(lambda: exporter.status().points_waiting == 0)
        status = exporter.status()
        assert (status.points_delivered, status.points_dropped) == (1, {"rejected": 2})
        assert "2 of 3 rejected: out of order" in status.problem


@pytest.mark.parametrize("closes", ["before", "after", "status", "headers"])
def test_a_receiver_that_closes_amid_a_request_is_asked_again(receiver: HttpReceiver, closes: str) -> None:
    receiver.answers = lambda number: Answer(closes=closes if number < 2 else "")
    with exporting(receiver.port) as exporter:
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().points_delivered == 1)
        assert sum(exporter.status().failures.values()) == 2
        assert set(exporter.status().failures) <= {"closed", "unavailable"}
        assert totals(receiver.metric_requests(), "sonde.test") == {(): 5}


def test_an_answer_that_is_cut_off_after_its_status_counts(receiver: HttpReceiver) -> None:
    """Asked again, the receiver would have the request twice."""
    receiver.answers = lambda number: Answer(body=b"\n\x05", closes="amid" if number < 2 else "")
    with exporting(receiver.port) as exporter:
        for turn in range(1, 4):
            exporter.export(snapshot(counted([turn])))
            until(lambda: exporter.status().points_delivered == turn)  # noqa: B023
        assert exporter.status().requests == 3


def test_a_connection_is_kept_and_a_stale_one_is_no_failure(receiver: HttpReceiver) -> None:
    with exporting(receiver.port) as exporter:
        for turn in range(1, 6):
            exporter.export(snapshot(counted([turn])))
            until(lambda: exporter.status().points_delivered == turn)  # noqa: B023
        assert receiver.connections == 1
        receiver.answers = lambda _: Answer(headers={"Connection": "close"})
        for turn in range(6, 9):
            exporter.export(snapshot(counted([turn])))
            until(lambda: exporter.status().points_delivered == turn)  # noqa: B023
        assert exporter.status().failures == {}


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\0" * 100_000, b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200]
)
def test_what_is_no_http_is_a_failure_and_no_more(answer: bytes) -> None:
    with answering(answer) as port, exporting(port) as exporter:
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().failures)
        assert set(exporter.status().failures) <= {"closed", "unavailable"}


@contextmanager
def answering(answer: bytes, *, pause_s: float = 0.0) -> Iterator[int]:
    """Answer every connection with the same bytes, one after another if there is a pause between them."""
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65_536)
                    for piece in (
                        [answer] if not pause_s else [answer[at : at + 1] for at in range(len(answer))]
                    ):
                        connection.sendall(piece)
                        if ended.wait(pause_s):
                            return
                except OSError:
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


# ---- slow -------------------------------------------------------------------------------------------------------


def test_nobody_waits_for_a_slow_receiver(receiver: HttpReceiver) -> None:
    """While it keeps the first request, a thousand snapshots and batches are taken; then its totals are right."""
    let_go = threading.Event()

    def answer(_: int) -> Answer:
        let_go.wait(60)
        return Answer()

    receiver.answers = answer
    with exporting(receiver.port, timeout_s=60) as exporter:
        for turn in range(1_000):
            exporter.export(snapshot(counted([turn])))
            exporter.log(records(1, first=turn))
        assert receiver.taken == []
        let_go.set()
        until(lambda: exporter.status().points_waiting == exporter.status().records_waiting == 0)
        assert totals(receiver.metric_requests(), "sonde.test") == {(): 999}
        assert exporter.status().points_delivered <= 2 < exporter.status().points_dropped["superseded"]
        told = [attributes_of(each)["number"] for each in log_records_in(receiver.log_requests())]
        assert told == list(range(1_000))


def test_an_attempt_that_takes_too_long_is_given_up_and_made_again(receiver: HttpReceiver) -> None:
    receiver.answers = lambda number: Answer(delay_s=30 if not number else 0)
    with exporting(receiver.port, timeout_s=0.3) as exporter:
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().points_delivered == 1, deadline_s=25)
        # On a machine that stands still for a moment the second one may take too long, too.
        status = exporter.status()
        assert status.failures == {"timeout": status.requests - 1}
        assert len(receiver.requests) > 1


def test_a_receiver_that_answers_a_byte_at_a_time_gets_no_longer() -> None:
    with (
        answering(b"HTTP/1.1 200 OK\r\n" * 1_000, pause_s=0.1) as port,
        exporting(port, timeout_s=0.5) as exporter,
    ):
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().failures.get("timeout", 0) >= 1, deadline_s=25)


def test_metrics_do_not_wait_for_records(receiver: HttpReceiver) -> None:
    with closed_port() as port:
        settings = OtlpSettings(
            metrics=OtlpDelivery(f"http://127.0.0.1:{receiver.port}"),
            logs=OtlpDelivery(f"http://127.0.0.1:{port}"),
            **QUICK,
        )
        exporter = OtlpExporter(settings)
        exporter.log(records(5))
        until(lambda: exporter.status().failures.get("unavailable", 0))
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().points_delivered == 1)
        assert not exporter.status().is_healthy
        exporter.close(timeout_s=0.1)
        assert exporter.status().records_dropped == {"closed": 5}


# ---- the end ----------------------------------------------------------------------------------------------------


def test_what_waits_is_delivered_at_the_end(receiver: HttpReceiver) -> None:
    with exporting(receiver.port) as exporter:
        exporter.export(snapshot(counted([5])))
        exporter.log(records(3))
        exporter.close(timeout_s=30)
        assert exporter.status().points_delivered == 1
        assert exporter.status().records_delivered == 3
        exporter.export(snapshot(counted([6])))
        assert exporter.status().points_dropped == {"closed": 1}


def test_the_end_waits_no_longer_than_it_may(receiver: HttpReceiver) -> None:
    receiver.answers = lambda _: Answer(delay_s=30)
    with exporting(receiver.port) as exporter:
        exporter.export(snapshot(counted([5])))
        exporter.log(records(3))
        until(lambda: receiver.requests)
        begun = time.monotonic()
        exporter.close(timeout_s=0.5)
        assert time.monotonic() - begun < 20  # of the 30 that it would take, on a slow machine
        assert exporter.status().points_dropped == {"closed": 1}
        assert exporter.status().records_dropped == {"closed": 3}


def test_the_end_does_not_wait_for_a_receiver_that_is_away_for_longer(receiver: HttpReceiver) -> None:
    receiver.answers = lambda _: Answer(503, {"Retry-After": "200"})
    with exporting(receiver.port) as exporter:
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().failures)
        begun = time.monotonic()
        exporter.close(timeout_s=100)
        assert time.monotonic() - begun < 50
        assert exporter.status().points_dropped == {"closed": 1}


def test_no_thread_and_no_descriptor_is_left(receiver: HttpReceiver) -> None:
    import os

    for _ in range(3):
        with exporting(receiver.port) as exporter:
            exporter.export(snapshot(counted([5])))
            exporter.log(records(3))
            exporter.close(timeout_s=30)
        until(lambda: not [each for each in threading.enumerate() if each.name.startswith("otlp")])
    before = len(os.listdir("/proc/self/fd"))
    with exporting(receiver.port) as exporter:
        exporter.export(snapshot(counted([5])))
    until(lambda: len(os.listdir("/proc/self/fd")) <= before)


# ---- the encoder ------------------------------------------------------------------------------------------------


def test_what_cannot_be_encoded_is_counted_and_the_next_is_delivered(receiver: HttpReceiver) -> None:
    wrong = metric("histogram", scale=-1, exponent=-5)
    with exporting(receiver.port) as exporter:
        exporter.export(snapshot(series(wrong, {}, [[1, 2, 3]])))
        until(lambda: exporter.status().points_dropped == {"encoding": 1})
        assert "no bound of a bucket" in exporter.status().problem
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().points_delivered == 1)
        assert exporter.status().is_healthy


def test_a_large_snapshot_goes_in_several_requests_and_is_compressed(receiver: HttpReceiver) -> None:
    with exporting(receiver.port, request_size_max_bytes=50_000) as exporter:
        exporter.export(snapshot(counted(range(5_000))))
        until(lambda: exporter.status().points_delivered == 5_000)
        assert points_in(receiver.metric_requests()) == 5_000
        assert len(receiver.requests) > 3
        assert all(each.size_bytes <= 50_000 for each in receiver.requests)
        assert all(int(each.headers["content-length"]) < each.size_bytes / 2 for each in receiver.requests)


# ---- connecting -----------------------------------------------------------------------------------------------


def addresses(monkeypatch: pytest.MonkeyPatch, *found: tuple[socket.AddressFamily, Any]) -> None:
    """Have a name be these addresses."""
    answers = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)


def test_all_addresses_of_a_name_have_one_time_and_one_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with full_listener() as away:
        addresses(monkeypatch, *[(socket.AF_INET, ("127.0.0.1", away))] * 3)
        transport = HttpTransport(OtlpDelivery(f"http://127.0.0.1:{away}"), LOGS)
        begun = time.monotonic()
        assert transport.send(b"", timeout_s=0.5).cause == "timeout"
        assert time.monotonic() - begun < 1.4
        attempt = threading.Thread(target=lambda: transport.send(b"", timeout_s=30))
        attempt.start()
        time.sleep(0.2)
        transport.abort()
        attempt.join(10)
        assert not attempt.is_alive()
        assert transport.send(b"", timeout_s=30).cause == "timeout"


def test_an_address_of_a_family_that_is_not_there_is_passed_over(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where IPv6 is off: the kernel has no such sockets."""
    addresses(monkeypatch, (socket.AF_VSOCK, (1, 1)), (socket.AF_INET, ("127.0.0.1", receiver.port)))
    with exporting(receiver.port) as exporter:
        exporter.log(records(3))
        until(lambda: exporter.status().records_delivered == 3)
        assert exporter.status().requests == 1


def test_at_the_limit_of_threads_everything_waits(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with exporting(receiver.port) as exporter:
        exporter.log(records(3))
        until(lambda: exporter.status().records_delivered == 3)
        with monkeypatch.context() as limit:
            limit.setattr(threading.Timer, "start", refuse_thread)
            exporter.log(records(3))
            until(lambda: exporter.status().failures["no thread"])
        until(lambda: exporter.status().records_delivered == 6)
        assert not exporter.status().records_dropped


def refuse_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
