"""The endpoint as well-behaved clients see it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import prometheus_messages as messages
from http_client import ask, connect, is_ended, read_reply, until
from made_series import CALLS, DURATION, many, series, snapshot
from sonde.errors import ConfigError, KernelError
from sonde.exporters.exporter import Exporter
from sonde.exporters.prometheus.exporter import PrometheusExporter
from sonde.exporters.prometheus.settings import PrometheusSettings
from sonde.records.metrics import Snapshot

PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,*/*;q=0.1"
ANY = PrometheusSettings(port=0)


@contextmanager
def serving(settings: PrometheusSettings = ANY, **callables: Any) -> Iterator[PrometheusExporter]:
    exporter = PrometheusExporter(settings, **callables)
    try:
        yield exporter
    finally:
        exporter.close(timeout_s=10)


def counts(value: int = 3) -> Snapshot:
    return snapshot(series(CALLS, {"process.executable.name": ["cat"]}, [value]))


def settings(**changes: Any) -> PrometheusSettings:
    return PrometheusSettings(**{"port": 0, **changes})


def test_a_scrape_reads_fresh() -> None:
    """Each scrape asks for a snapshot; what it says is the page."""
    asked: list[int] = []

    def read() -> Snapshot:
        asked.append(1)
        return counts(len(asked))

    with serving(snapshot=read) as exporter:
        for expected in (1, 2):
            reply = ask(exporter.port)
            assert reply.status == 200
            assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert reply.text.endswith(
                f'sonde_syscall_calls_total{{process_executable_name="cat"}} {expected}\n'
            )
        # The client may have all of it before the endpoint has counted that.
        until(lambda: exporter.status().points_waiting == 0, "both counted")
        status = exporter.status()
    assert (status.points_offered, status.points_delivered, status.points_waiting) == (2, 2, 0)
    assert (status.requests, status.failures, status.is_healthy) == (2, {}, True)
    assert status.latency_s > 0


def test_it_is_an_exporter_that_serves_what_it_was_given() -> None:
    with serving() as exporter:
        as_exporter: Exporter = exporter
        reply = ask(exporter.port)
        assert (reply.status, reply.text) == (
            503,
            "no measurement: nothing was read just now: /healthz and /readyz say more\n",
        )
        assert ask(exporter.port, "/readyz").status == 503
        as_exporter.export(counts(7))
        assert ask(exporter.port).text.endswith(" 7\n")
        assert ask(exporter.port, "/readyz").status == 200
        assert as_exporter.name == "prometheus"
        assert as_exporter.status().failures == {"not ready": 1}
        assert as_exporter.status().records_offered == 0


def test_protobuf_is_for_who_asks_for_it_and_gzip_too() -> None:
    with serving(snapshot=lambda: snapshot(many(CALLS, 500), many(DURATION, 300))) as exporter:
        plain = ask(exporter.port, Accept=PROTOBUF)
        packed = ask(exporter.port, Accept=PROTOBUF, Accept_Encoding="deflate, gzip;q=0.9")
        text = ask(exporter.port, Accept_Encoding="gzip")
    assert plain.headers["content-type"].startswith("application/vnd.google.protobuf; proto=io.prometheus")
    assert len(messages.families(plain.body)["sonde_syscall_duration_seconds"].metric) == 300
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < len(plain.body)
    families = list(text_string_to_metric_families(text.text))
    assert [len(family.samples) for family in families] == [500, 300 * 29]


def test_a_large_page_arrives_whole_uncompressed() -> None:
    taken = snapshot(many(DURATION, 2_000))
    with serving(snapshot=lambda: taken) as exporter:
        text = ask(exporter.port).text
    assert text.count("\n") == 2_000 * 29 + 2
    assert len(text) > 4_000_000


def test_the_other_pages_and_methods() -> None:
    with serving(snapshot=counts) as exporter:
        root = ask(exporter.port, "/")
        assert root.status == 200
        assert 'href="/metrics"' in root.text
        assert ask(exporter.port, "/nothing").status == 404
        assert ask(exporter.port, "/metrics?name[]=x").status == 200
        assert ask(exporter.port, "http://test/metrics").status == 200
        refused = ask(exporter.port, method="POST", Content_Length="0")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
        head = ask(exporter.port, method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["content-length"]) == len(ask(exporter.port).body)
        # A HEAD takes no points with it.
        until(lambda: exporter.status().points_delivered == 3, "three pages")


def test_a_connection_serves_many_requests_even_sent_at_once() -> None:
    with serving(snapshot=counts) as exporter, connect(exporter.port) as client:
        request = b"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n"
        for _ in range(3):
            client.sendall(request)
            assert read_reply(client).status == 200
        client.sendall(
            b"GET /readyz HTTP/1.1\r\nHost: t\r\n\r\nGET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
        )
        answers = b""
        while piece := client.recv(65536):
            answers += piece
        assert answers.count(b"HTTP/1.1 ") == 2


def test_http_1_0_is_answered_and_closed() -> None:
    with serving(snapshot=counts) as exporter, connect(exporter.port) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert read_reply(client).text.endswith(" 3\n")
        assert is_ended(client)


def test_health_and_readiness_are_the_agents_words() -> None:
    told: dict[str, tuple[bool, dict[str, Any]]] = {
        "health": (True, {"lag_s": 0.5}),
        "ready": (False, {"why": "é\udcff"}),
    }
    with serving(healthy=lambda: told["health"], ready=lambda: told["ready"]) as exporter:
        well, unready = ask(exporter.port, "/healthz"), ask(exporter.port, "/readyz")
        assert (well.status, json.loads(well.text)) == (200, {"ok": True, "lag_s": 0.5})
        assert well.headers["content-type"] == "application/json"
        assert (unready.status, json.loads(unready.text)) == (503, {"ok": False, "why": "é\udcff"})
        told.clear()
        broken = ask(exporter.port, "/healthz")
        assert (broken.status, json.loads(broken.text)["problem"]) == (503, "KeyError: 'health'")


def test_a_token_is_asked_for_except_for_one_word_of_health(tmp_path: Any) -> None:
    (tmp_path / "token").write_text("secret-7\n")
    chosen = settings(token_file=str(tmp_path / "token"))
    with serving(chosen, snapshot=counts, healthy=lambda: (True, {"inside": 1})) as exporter:
        for wrong in (
            {},
            {"Authorization": "Bearer secret-8"},
            {"Authorization": "Basic secret-7"},
            {"Authorization": "ÿ"},
        ):
            refused = ask(exporter.port, **wrong)
            assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Bearer realm="sonde"')
        assert ask(exporter.port, Authorization="bearer secret-7").status == 200
        assert json.loads(ask(exporter.port, "/healthz").text) == {"ok": True}
        assert json.loads(ask(exporter.port, "/healthz", Authorization="Bearer secret-7").text)["inside"] == 1
        assert exporter.status().failures == {"unauthorized": 4}


def test_a_reading_that_fails_is_told_and_the_next_succeeds() -> None:
    answers: list[Callable[[], Snapshot]] = [lambda: {}["gone\x1b\n"], counts]  # type: ignore[list-item]
    with serving(snapshot=lambda: answers.pop(0)()) as exporter:
        failed = ask(exporter.port)
        assert failed.status == 503
        assert failed.text == "no measurement: reading the counts failed (KeyError: 'gone\\x1b\\n')\n"
        assert exporter.status().problem.startswith("no measurement: reading")
        assert not exporter.status().is_healthy
        assert ask(exporter.port).status == 200
        assert exporter.status().is_healthy


def test_a_reading_that_hangs_costs_a_deadline_not_the_endpoint() -> None:
    go_on = threading.Event()

    def read() -> Snapshot:
        go_on.wait(60)
        return counts()

    with serving(settings(scrape_timeout_s=0.3), snapshot=read) as exporter:
        assert ask(exporter.port).text == "no measurement: reading the counts took more than 0.3 s\n"
        told = ask(exporter.port, X_Prometheus_Scrape_Timeout_Seconds="0.1")
        assert told.text == "no measurement: reading the counts took more than 0.09 s\n"
        assert ask(exporter.port, "/healthz").status == 200
        go_on.set()
        until(lambda: ask(exporter.port).status == 200, "a page after the hang")


def test_scrapes_at_one_time_share_a_reading_that_begins_after_them() -> None:
    """One reading is under way; five scrapes that come meanwhile get one more, not five, and not that one."""
    entered, go_on, readings = threading.Event(), threading.Event(), []

    def read() -> Snapshot:
        readings.append(1)
        value = len(readings)
        entered.set()
        go_on.wait(60)
        return counts(value)

    with serving(settings(scrape_timeout_s=60), snapshot=read) as exporter:
        texts: list[str] = []

        def scrape() -> None:
            texts.append(ask(exporter.port).text[-3:])

        scrapers = [threading.Thread(target=scrape) for _ in range(6)]
        scrapers[0].start()
        assert entered.wait(60)
        for scraper in scrapers[1:]:
            scraper.start()
        until(lambda: exporter.status().requests == 6, "six requests")
        go_on.set()
        for scraper in scrapers:
            scraper.join(60)
    assert sorted(texts) == [" 1\n"] + [" 2\n"] * 5


def test_the_page_of_the_same_snapshot_is_made_once() -> None:
    taken = snapshot(many(CALLS, 100))
    with serving(snapshot=lambda: taken) as exporter:
        first, second = (exporter._pages.page(_text(), timeout_s=60) for _ in range(2))
        assert first is second
        # It is forgotten when nobody asks any more: idle, the endpoint holds no page.
        until(lambda: not exporter._pages._made, "the page forgotten")


def _text() -> Any:
    from sonde.exporters.prometheus.accept import Format

    return Format.TEXT


def test_the_last_page_waits_for_a_scrape() -> None:
    with serving(snapshot=lambda: counts(1)) as exporter:
        assert not exporter.linger(counts(2), timeout_s=0.05)
        assert not exporter.is_scraped
        results: list[bool] = []
        waiting = threading.Thread(target=lambda: results.append(exporter.linger(counts(3), timeout_s=60)))
        waiting.start()
        until(lambda: ask(exporter.port).text.endswith(" 3\n"), "the last page")
        waiting.join(60)
        assert results == [True]
        until(lambda: exporter.is_scraped, "the page counted")


def test_closing_ends_within_its_time_whatever_clients_do() -> None:
    """Idle clients, a hanging reading, and one that does not take its answer."""
    hang = threading.Event()

    def read() -> Snapshot:
        hang.wait(60)
        return counts()

    exporter = PrometheusExporter(settings(scrape_timeout_s=60), snapshot=read)
    with connect(exporter.port) as idle, connect(exporter.port) as waiting:
        waiting.sendall(b"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n")
        until(lambda: exporter.status().requests == 1, "the request")
        begun = time.monotonic()
        exporter.close(timeout_s=0.5)
        exporter.close(timeout_s=0.5)
        assert time.monotonic() - begun < 30
        assert is_ended(idle)
        assert is_ended(waiting)
    hang.set()


def test_closing_lets_an_answer_end() -> None:
    taken = snapshot(many(DURATION, 2_000))
    exporter = PrometheusExporter(ANY, snapshot=lambda: taken)
    with connect(exporter.port) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n")
        until(lambda: exporter.status().points_offered > 0, "the page")
        closing = threading.Thread(target=lambda: exporter.close(timeout_s=60))
        closing.start()
        assert read_reply(client).text.count("\n") == 2_000 * 29 + 2
        closing.join(60)
        assert not closing.is_alive()


def test_it_can_listen_again_at_once() -> None:
    with serving(snapshot=counts) as exporter:
        port = exporter.port
        assert ask(port).status == 200
    for _ in range(3):
        with serving(settings(port=port), snapshot=counts) as exporter:
            assert ask(port).status == 200


def test_ipv6_loopback() -> None:
    with serving(settings(host="::1"), snapshot=counts) as exporter:
        assert exporter.url == f"http://[::1]:{exporter.port}"
        assert ask(exporter.port, host="::1").status == 200


def test_both_families_where_all_addresses_are_wanted() -> None:
    with serving(settings(host="::", allow_remote=True), snapshot=counts) as exporter:
        assert ask(exporter.port, host="::1").status == 200
        assert ask(exporter.port).status == 200


def test_a_port_in_use_is_one_sentence() -> None:
    with serving() as exporter, pytest.raises(KernelError) as refused:
        PrometheusExporter(settings(port=exporter.port))
    assert str(refused.value) == (
        f"listen on 127.0.0.1:{exporter.port}: address already in use (EADDRINUSE): "
        "another program listens there: end it, or choose another port"
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"host": "0.0.0.0"}, "listen: 0.0.0.0:0 can be reached from other machines: set tls_certificate"),
        ({"host": "::"}, "listen: [::]:0 can be reached"),
        ({"host": "example.invalid", "allow_remote": True}, "listen: example.invalid is no address"),
        ({"host": "a\0b", "allow_remote": True}, "is no address"),
        ({"port": 70000}, "port 70000 cannot be"),
        ({"tls_certificate": "/x"}, "tls_certificate: it needs tls_key, too"),
        ({"tls_key": "/x"}, "tls_key: it needs tls_certificate, too"),
        ({"tls_client_ca": "/x"}, "tls_client_ca: it needs"),
        ({"tls_certificate": "/nowhere", "tls_key": "/nowhere"}, "/nowhere cannot be used"),
        ({"token": ""}, "token: a token is one word"),
        ({"token": "two words"}, "token: a token is one word"),
        ({"token": "x", "token_file": "y"}, "token_file: token is given, too"),
        ({"token_file": "/nowhere/token"}, "token_file: /nowhere/token: No such file"),
        ({"token_file": "/dev/zero"}, "token_file: /dev/zero is longer than a token"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        PrometheusExporter(settings(**changes))
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("changes", [{"allow_remote": True}, {"token": "word"}])
def test_beyond_loopback_is_for_who_asks_for_it(changes: dict[str, Any]) -> None:
    with serving(settings(host="0.0.0.0", **changes), snapshot=counts) as exporter:
        assert exporter.port


def test_a_token_is_in_no_representation() -> None:
    assert "hush" not in repr(settings(token="hush"))


def test_settings_load_neither_numpy_nor_http_nor_tls() -> None:
    code = "import sys, sonde.exporters.prometheus.settings; print(*{'numpy', 'h11', 'ssl', 'socket'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "\n"
    )


def test_an_idle_endpoint_costs_nothing() -> None:
    """No thread of it wakes: measured as its threads' CPU time, with a client connected and silent."""
    with serving(snapshot=counts) as exporter, connect(exporter.port):
        assert ask(exporter.port).status == 200
        until(lambda: not exporter._pages._made, "the page forgotten")
        until(lambda: exporter.status().queue_length == 1, "the silent client alone")
        begun_ns = used_ns()
        time.sleep(2)
        assert used_ns() - begun_ns < 100_000_000


def used_ns() -> int:
    """Add up the CPU time of the threads of endpoints; what earlier tests have left in this process may do what it likes."""
    threads = [each for each in threading.enumerate() if each.name.startswith("sonde-prometheus")]
    assert threads
    used = 0
    for each in threads:
        with suppress(FileNotFoundError, ProcessLookupError):
            used += int(Path(f"/proc/self/task/{each.native_id}/schedstat").read_text().split()[0])
    return used
