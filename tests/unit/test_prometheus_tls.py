"""The endpoint over TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certificates import Certificate, authority, signed, trusting
from http_client import ask, connect, is_ended, until
from made_series import CALLS, DURATION, many, series, snapshot
from sonde.errors import ConfigError
from sonde.exporters.prometheus.exporter import PrometheusExporter
from sonde.exporters.prometheus.settings import PrometheusSettings


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(ours: Certificate) -> Certificate:
    return signed(ours.file.parent, ours)


def settings(server: Certificate, **changes: Any) -> PrometheusSettings:
    return PrometheusSettings(port=0, tls_certificate=str(server.file), tls_key=str(server.key), **changes)


@pytest.fixture
def exporter(server: Certificate) -> Iterator[PrometheusExporter]:
    taken = snapshot(series(CALLS, {}, [3]), many(DURATION, 2_000))
    made = PrometheusExporter(settings(server, header_timeout_s=3), snapshot=lambda: taken)
    yield made
    made.close(timeout_s=10)


def test_a_client_that_trusts_the_certificate_gets_the_page(
    exporter: PrometheusExporter, ours: Certificate
) -> None:
    assert exporter.url == f"https://127.0.0.1:{exporter.port}"
    reply = ask(exporter.port, tls=trusting(ours))
    assert reply.status == 200
    assert reply.text.count("\n") == 3 + 2_000 * 29 + 2


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_tls_is_refused(exporter: PrometheusExporter, ours: Certificate) -> None:
    context = trusting(ours)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(exporter.port, tls=context)


def test_who_speaks_no_tls_is_ended(exporter: PrometheusExporter, ours: Certificate) -> None:
    """Plain HTTP, garbage, and a client that says nothing."""
    for said in (b"GET /metrics HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + bytes(500), b""):
        with connect(exporter.port) as client:
            client.sendall(said)
            assert is_ended(client)
    until(lambda: exporter.status().failures.get("TLS handshake") == 3, "three failures")
    assert ask(exporter.port, "/healthz", tls=trusting(ours)).status == 200


def test_a_client_that_goes_away_within_tls_is_counted(
    exporter: PrometheusExporter, ours: Certificate
) -> None:
    with connect(exporter.port, tls=trusting(ours)) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n")
        assert client.recv(100)
        client.shutdown(socket.SHUT_RDWR)
    until(lambda: exporter.status().points_waiting == 0 and exporter.status().points_offered > 0, "counted")
    assert exporter.status().points_dropped == {"client gone": 2_001}


def test_clients_may_need_a_certificate_too(ours: Certificate, server: Certificate, tmp_path: Path) -> None:
    client, stranger = (
        signed(tmp_path, ours, "client"),
        signed(tmp_path, authority(tmp_path, "others"), "stranger"),
    )
    made = PrometheusExporter(
        settings(server, tls_client_ca=str(ours.file)), snapshot=lambda: snapshot(series(CALLS, {}, [3]))
    )
    try:
        assert ask(made.port, tls=trusting(ours, client=client)).status == 200
        for wrong in (trusting(ours), trusting(ours, client=stranger)):
            with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
                ask(made.port, tls=wrong)
    finally:
        made.close(timeout_s=10)


def test_a_key_that_does_not_fit_is_one_sentence(ours: Certificate, server: Certificate) -> None:
    with pytest.raises(ConfigError, match=r"^prometheus: tls_certificate: .* cannot be used \(.*\)$"):
        PrometheusExporter(settings(Certificate(server.file, ours.key)))
