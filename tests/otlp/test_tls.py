"""TLS both ways: who is trusted, who is not, and certificates that are renewed."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from certificates import Certificate, authority, signed
from otlp.grpc_receiver import grpc_receiver
from otlp.receiver import http_receiver, until
from otlp.shapes import counted, snapshot
from otlp.test_faults_http import QUICK
from sonde.exporters.otlp import OtlpExporter, OtlpSettings
from sonde.exporters.otlp.settings import OtlpDelivery, Protocol

PROTOCOLS: tuple[Protocol, ...] = ("http/protobuf", "grpc")


@contextmanager
def tls_receiver(protocol: str, server: Certificate, *, clients: Certificate | None = None) -> Iterator[int]:
    """Run a receiver with a certificate; with ``clients`` it wants one of whom that authority signed."""
    if protocol == "grpc":
        pair = (server.key.read_bytes(), server.file.read_bytes())
        trusted = clients.file.read_bytes() if clients else None
        credentials = grpc.ssl_server_credentials([pair], trusted, require_client_auth=clients is not None)
        with grpc_receiver(credentials=credentials) as made:
            yield made.port
        return
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server.file, server.key)
    if clients is not None:
        context.load_verify_locations(clients.file)
        context.verify_mode = ssl.CERT_REQUIRED
    with http_receiver(context=context) as receiver:
        yield receiver.port


@contextmanager
def exporting(port: int, protocol: Protocol, **files: Any) -> Iterator[OtlpExporter]:
    delivery = OtlpDelivery(
        f"https://127.0.0.1:{port}",
        protocol=protocol,
        **{name: str(path) for name, path in files.items()},
    )
    made = OtlpExporter(OtlpSettings(metrics=delivery, **QUICK))
    try:
        yield made
    finally:
        made.close(timeout_s=1)


def delivered(exporter: OtlpExporter) -> Callable[[], bool]:
    return lambda: exporter.status().points_delivered == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_receiver_whom_the_given_authority_vouches_for(tmp_path: Path, protocol: Protocol) -> None:
    ours = authority(tmp_path)
    with (
        tls_receiver(protocol, signed(tmp_path, ours)) as port,
        exporting(port, protocol, certificate=ours.file) as exporter,
    ):
        exporter.export(snapshot(counted([5])))
        until(delivered(exporter))
        assert exporter.status().failures == {}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("trusted", ["another authority", "the system's"])
def test_a_wrong_certificate_delivers_nothing_and_says_why(
    tmp_path: Path, protocol: Protocol, trusted: str
) -> None:
    ours, another = authority(tmp_path), authority(tmp_path, "another")
    files = {"certificate": another.file} if trusted == "another authority" else {}
    with (
        tls_receiver(protocol, signed(tmp_path, ours)) as port,
        exporting(port, protocol, **files) as exporter,
    ):
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().failures.get("certificate", 0) >= 2)
        status = exporter.status()
        assert not status.is_healthy
        assert "certificate" in status.problem.lower()
        exporter.close(timeout_s=0.1)
        assert exporter.status().points_dropped == {"closed": 1}
        assert exporter.status().points_delivered == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_both_show_a_certificate(tmp_path: Path, protocol: Protocol) -> None:
    ours = authority(tmp_path)
    me = signed(tmp_path, ours, "agent")
    with tls_receiver(protocol, signed(tmp_path, ours), clients=ours) as port:
        with exporting(
            port, protocol, certificate=ours.file, client_certificate=me.file, client_key=me.key
        ) as exporter:
            exporter.export(snapshot(counted([5])))
            until(delivered(exporter))
        with exporting(port, protocol, certificate=ours.file) as exporter:
            exporter.export(snapshot(counted([5])))
            until(lambda: exporter.status().failures)
            assert exporter.status().points_delivered == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_files_that_are_not_usable_are_named(tmp_path: Path, protocol: Protocol) -> None:
    """A key that is another certificate's, and a file of authorities without one."""
    ours = authority(tmp_path)
    me, another = signed(tmp_path, ours, "agent"), signed(tmp_path, ours, "another")
    empty = tmp_path / "empty.crt"
    empty.touch()
    for files, named in (
        ({"certificate": ours.file, "client_certificate": me.file, "client_key": another.key}, me.file),
        ({"certificate": empty}, empty),
    ):
        with exporting(1, protocol, **files) as exporter:
            exporter.export(snapshot(counted([5])))
            until(lambda: exporter.status().failures.get("certificate"))
            assert f"{named}" in exporter.status().problem
            assert "cannot be used" in exporter.status().problem


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_name_that_is_another_is_a_wrong_certificate(tmp_path: Path, protocol: Protocol) -> None:
    ours = authority(tmp_path)
    elsewhere = signed(tmp_path, ours, "elsewhere", names="DNS:elsewhere")
    with (
        tls_receiver(protocol, elsewhere) as port,
        exporting(port, protocol, certificate=ours.file) as exporter,
    ):
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().failures)
        assert set(exporter.status().failures) == {"certificate"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_certificates_that_are_renewed_are_read_again(tmp_path: Path, protocol: Protocol) -> None:
    """First the files are another authority's, or not there at all; then the right one is put in their place."""
    ours, another = authority(tmp_path), authority(tmp_path, "another")
    trusted = tmp_path / "trusted.crt"
    shutil.copy(another.file, trusted)
    with (
        tls_receiver(protocol, signed(tmp_path, ours)) as port,
        exporting(port, protocol, certificate=trusted) as exporter,
    ):
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().failures.get("certificate"))
        trusted.unlink()
        failed = exporter.status().failures["certificate"]
        until(lambda: exporter.status().failures["certificate"] > failed + 1)
        assert "No such file" in (problem := exporter.status().problem)
        assert str(trusted) in problem
        shutil.copy(ours.file, trusted)
        until(delivered(exporter))
        assert exporter.status().is_healthy


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_receiver_without_tls_is_a_failure(protocol: Protocol) -> None:
    with http_receiver() as receiver, exporting(receiver.port, protocol) as exporter:
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().failures.get("certificate"))
        assert "speaks no TLS there" in exporter.status().problem
        assert exporter.status().points_delivered == 0


def test_tls_where_none_was_expected_is_said(tmp_path: Path) -> None:
    with tls_receiver("http/protobuf", signed(tmp_path, authority(tmp_path))) as port:
        exporter = OtlpExporter(OtlpSettings(metrics=OtlpDelivery(f"http://127.0.0.1:{port}"), **QUICK))
        exporter.export(snapshot(counted([5])))
        until(lambda: exporter.status().failures)
        assert "it may speak TLS there" in exporter.status().problem
        exporter.close(timeout_s=0.1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_between_attempts_nobody_knocks(protocol: Protocol) -> None:
    """A channel of gRPC's connects by itself: what is tried again, and when, is the exporter's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        delivery = OtlpDelivery(f"https://127.0.0.1:{server.getsockname()[1]}", protocol=protocol)
        exporter = OtlpExporter(OtlpSettings(metrics=delivery, backoff_initial_s=600, backoff_max_s=600))
        exporter.export(snapshot(counted([5])))
        server.settimeout(60)
        server.accept()[0].close()
        until(lambda: exporter.status().failures)
        # One may be on its way before the channel is closed.
        server.settimeout(1)
        knocks = 0
        with contextlib.suppress(TimeoutError):
            while knocks < 10:
                server.accept()[0].close()
                knocks += 1
        assert knocks < 10
        exporter.close(timeout_s=0.1)
