"""The endpoint against clients that do not keep to the rules: they cost a bound, and nobody else notices."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from http_client import ask, connect, is_ended, read_reply, until
from made_series import CALLS, DURATION, many, series, snapshot
from sonde.exporters.prometheus.exporter import PrometheusExporter
from sonde.exporters.prometheus.settings import PrometheusSettings

GET = b"GET /metrics HTTP/1.1\r\nHost: t\r\n"
SMALL = snapshot(series(CALLS, {}, [3]))
LARGE = snapshot(many(DURATION, 2_000))


@pytest.fixture
def make() -> Iterator[Any]:
    with ExitStack() as stack:

        def made(taken: Any = SMALL, **changes: Any) -> PrometheusExporter:
            settings = PrometheusSettings(**{"port": 0, "requests_per_s": 100_000.0, **changes})
            exporter = PrometheusExporter(settings, snapshot=lambda: taken)
            stack.callback(exporter.close, timeout_s=10)
            return exporter

        yield made


def works(exporter: PrometheusExporter) -> bool:
    return ask(exporter.port, Accept_Encoding="gzip").status == 200


def rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x00\xff\xfe garbage\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics HTTP/9.9\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHost: t\r\nbroken header\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: t\r\nHost: u\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n", 431),
        (GET + b"X: " + b"y" * 40_000 + b"\r\n\r\n", 431),
        (GET + b"".join(b"x%d: y\r\n" % at for at in range(65)) + b"\r\n", 431),
        (GET + b"x: y\r\n" * 64 + b"\r\n", 431),
        (GET + b"Content-Length: 1000000000000\r\n\r\n" + b"x" * 100_000, 413),
        (GET + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", 413),
        (b"CONNECT evil:443 HTTP/1.1\r\nHost: t\r\n\r\n", 404),
        (b"DELETE /metrics HTTP/1.1\r\nHost: t\r\n\r\n", 405),
        (b"G\x1b[2JT /metrics HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        (b"GET /\x1b[31m HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: t\r\n\r\n", 404),
        (GET + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 200),
        (GET + b"Expect: 100-continue\r\n\r\n", 200),
        (GET + b"Accept: " + b"a/b;q=," * 2000 + b"\r\n\r\n", 200),
        (GET + b"X-Prometheus-Scrape-Timeout-Seconds: -1e999\r\n\r\n", 200),
    ],
)
def test_what_is_no_proper_request_is_answered_properly(make: Any, request_bytes: bytes, status: int) -> None:
    exporter = make()
    with connect(exporter.port) as client:
        client.sendall(request_bytes)
        assert read_reply(client).status == status
    assert works(exporter)


def test_garbage_never_ends_it(make: Any) -> None:
    """500 clients say random bytes, some of them after a good beginning, and leave."""
    exporter, chance = make(), random.Random(7)
    for at in range(500):
        with connect(exporter.port) as client:
            client.sendall((GET if at % 3 == 0 else b"") + chance.randbytes(chance.randrange(1, 3000)))
            if at % 2:
                client.shutdown(socket.SHUT_WR)
                assert is_ended(client)
    assert works(exporter)


def test_a_request_that_comes_by_single_bytes_is_ended_in_time(make: Any) -> None:
    exporter = make(header_timeout_s=0.5)
    with connect(exporter.port) as slow:
        stop = threading.Event()

        def drip() -> None:
            try:
                while not stop.wait(0.02):
                    slow.sendall(b"G")
            except OSError:
                return

        dripping = threading.Thread(target=drip)
        slow.sendall(GET + b"X: ")
        dripping.start()
        try:
            assert read_reply(slow).status == 408
        finally:
            stop.set()
            dripping.join()
    assert exporter.status().failures == {"slow request": 1}
    assert works(exporter)


def test_clients_that_say_nothing_are_ended(make: Any) -> None:
    """One from the beginning, one after a request."""
    # Two endpoints: the one that is asked gives a client on a slow machine the time for its request.
    hurried, patient = make(header_timeout_s=0.3), make(idle_timeout_s=0.6)
    with connect(hurried.port) as silent, connect(patient.port) as idle:
        idle.sendall(GET + b"\r\n")
        assert read_reply(idle).status == 200
        assert is_ended(silent)
        assert is_ended(idle)
    for exporter in (hurried, patient):
        until(lambda: exporter.status().queue_length == 0, "no connection left")  # noqa: B023
        assert exporter.status().failures == {}


def test_a_client_that_takes_nothing_costs_its_points_and_no_more(make: Any) -> None:
    exporter = make(LARGE, send_timeout_s=0.5)
    with connect(exporter.port) as greedy:
        greedy.sendall(GET + b"\r\n")
        until(lambda: exporter.status().points_dropped != {}, "given up")
    status = exporter.status()
    assert status.points_dropped == {"slow client": 2_000}
    assert status.points_offered == 2_000
    assert works(exporter)


def test_a_client_that_leaves_in_the_middle_is_counted(make: Any) -> None:
    exporter = make(LARGE)
    with connect(exporter.port) as leaving:
        leaving.sendall(GET + b"\r\n")
        assert leaving.recv(1)
    until(lambda: exporter.status().points_dropped != {}, "counted")
    assert exporter.status().points_dropped == {"client gone": 2_000}
    until(lambda: works(exporter), "works")


def test_a_client_that_closes_its_half_gets_its_answer(make: Any) -> None:
    exporter = make()
    with connect(exporter.port) as half:
        half.sendall(GET + b"\r\n")
        half.shutdown(socket.SHUT_WR)
        assert read_reply(half).status == 200
        assert is_ended(half)


@pytest.mark.parametrize("said", [b"", b"GET /met", GET + b"\r\n"])
def test_many_clients_that_stay_shut_nobody_out(make: Any, said: bytes) -> None:
    """Silent ones, those in the middle of a request, and those that do not take their answer: the stillest has to go."""
    exporter = make(LARGE, connections_max=4)
    with ExitStack() as stack:
        stay = [stack.enter_context(connect(exporter.port)) for _ in range(4)]
        for client in stay:
            client.sendall(said)
        if said.endswith(b"\r\n\r\n"):
            until(lambda: exporter.status().points_waiting == 4 * 2_000, "four answers under way")
        else:
            until(lambda: exporter.status().queue_length == 4, "four connections")
        for _ in range(8):
            assert works(exporter)
        assert exporter.status().queue_length <= 4
        assert exporter.status().failures["evicted"] >= 1


def test_a_thousand_requests_at_once_are_answered_one_by_one(make: Any) -> None:
    exporter = make()
    with connect(exporter.port) as client:
        sending = threading.Thread(target=lambda: client.sendall((GET + b"\r\n") * 1_000))
        sending.start()
        received = b""
        while received.count(b"HTTP/1.1 200") < 1_000:
            received = received[-4_000_000:] + client.recv(65536)
        sending.join()
    assert works(exporter)


def test_a_flood_is_slowed_down(make: Any) -> None:
    """With 50 requests a second and a burst of as many, 100 take a second at least, whatever the client wants."""
    exporter = make(requests_per_s=50.0)
    with connect(exporter.port) as client:
        begun = time.monotonic()
        client.sendall((GET + b"\r\n") * 100)
        until(lambda: exporter.status().requests == 100, "all of them")
        assert time.monotonic() - begun > 0.9


def test_a_storm_leaves_neither_memory_nor_descriptors_nor_threads(make: Any) -> None:
    """Rounds of clients that scrape, leave, say garbage, or stay; the last rounds cost no more than the first."""
    exporter = make(LARGE, connections_max=8)

    def storm() -> None:
        with ExitStack() as stack:
            for at in range(60):
                client = stack.enter_context(connect(exporter.port))
                client.sendall([GET + b"\r\n", b"\xff" * 5_000 + b"\r\n\r\n", GET, b""][at % 4])
        assert works(exporter)
        until(lambda: exporter.status().queue_length == 0, "no connection left")

    for _ in range(5):
        storm()
    before_mb, threads, descriptors = rss_mb(), threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        storm()
    until(lambda: threading.active_count() <= threads, "no more threads")
    until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors, "no more descriptors")
    assert rss_mb() - before_mb < 20
    status = exporter.status()
    assert status.points_offered == status.points_delivered + sum(status.points_dropped.values())


def test_no_descriptors_left_is_survived(make: Any) -> None:
    """While the process may open nothing, clients wait; afterwards they are served."""
    import resource

    exporter = make()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = socket.socket()
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    taken = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        client.settimeout(60)
        client.connect(("127.0.0.1", exporter.port))
        client.sendall(GET + b"\r\n")
        until(lambda: exporter.status().failures.get("accept", 0) >= 1, "a failed accept")
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with client:
        assert read_reply(client).status == 200
