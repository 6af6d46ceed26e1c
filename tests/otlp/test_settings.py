"""Where requests go, and what settings cannot be."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde.errors import ConfigError
from sonde.exporters.otlp.retry import Backoff, retry_after_s
from sonde.exporters.otlp.settings import OtlpDelivery, OtlpSettings


@pytest.mark.parametrize(
    ("endpoint", "is_whole", "port", "path"),
    [
        ("http://localhost:4318", False, 4318, "/v1/metrics"),
        ("http://localhost:4318/", False, 4318, "/v1/metrics"),
        ("http://localhost:8428/opentelemetry", False, 8428, "/opentelemetry/v1/metrics"),
        ("http://localhost:8428/opentelemetry/", False, 8428, "/opentelemetry/v1/metrics"),
        ("https://localhost/otlp?tenant=a", False, 443, "/otlp/v1/metrics?tenant=a"),
        ("http://localhost", False, 80, "/v1/metrics"),
        ("http://localhost:9090/api/v1/otlp/v1/metrics", True, 9090, "/api/v1/otlp/v1/metrics"),
        ("http://localhost:9090", True, 9090, "/"),
    ],
)
def test_paths_over_http(endpoint: str, is_whole: bool, port: int, path: str) -> None:  # noqa: FBT001
    """The general endpoint gets the signal's path, a signal's own is taken as it is (OTLP exporter specification)."""
    target = OtlpDelivery(endpoint, is_whole_url=is_whole).target("metrics")
    assert (target.port, target.path) == (port, path)
    assert target.is_tls == endpoint.startswith("https")


@pytest.mark.parametrize(
    ("endpoint", "insecure", "is_tls", "authority"),
    [
        ("http://localhost:4317", False, False, "localhost:4317"),
        ("https://localhost", True, True, "localhost:4317"),
        ("collector:4317", True, False, "collector:4317"),
        ("collector", False, True, "collector:4317"),
        ("http://[::1]:4317", False, False, "[::1]:4317"),
    ],
)
def test_targets_over_grpc(endpoint: str, insecure: bool, is_tls: bool, authority: str) -> None:  # noqa: FBT001
    target = OtlpDelivery(endpoint, protocol="grpc", insecure=insecure).target("logs")
    assert (target.is_tls, target.authority) == (is_tls, authority)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"endpoint": "localhost:4318"}, "endpoint"),
        ({"endpoint": "ftp://localhost"}, "endpoint"),
        ({"endpoint": "http://"}, "endpoint"),
        ({"endpoint": "http://localhost:99999"}, "endpoint"),
        ({"endpoint": "http://me:secret@localhost"}, "endpoint"),
        ({"endpoint": "http://local host"}, "endpoint"),
        ({"endpoint": "http://localhost/a\nb"}, "endpoint"),
        ({"protocol": "http/json"}, "protocol"),
        ({"compression": "zstd"}, "compression"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"client_certificate": "a.pem"}, "client_key"),
        ({"headers": {"a b": "c"}}, "headers"),
        ({"headers": {"a": "c\r\nx: y"}}, "headers"),
    ],
)
def test_what_cannot_be_is_said(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OtlpDelivery(**{"endpoint": "http://localhost:4318", **changes})
    assert caught.value.key == key
    assert "secret" not in str(caught.value)


def test_bounds_are_checked() -> None:
    for name in ("request_size_max_bytes", "queue_records_max", "queue_bytes_max"):
        with pytest.raises(ConfigError, match=name):
            OtlpSettings(**{name: 0})
    with pytest.raises(ConfigError, match="temporality"):
        OtlpSettings(temporality="sometimes")  # type: ignore[arg-type]


def test_headers_are_in_no_message() -> None:
    assert "secret" not in repr(OtlpDelivery("http://localhost", headers={"authorization": "secret"}))


# ---- when to try again ------------------------------------------------------------------------------------------


def test_waits_grow_to_a_bound_and_begin_again() -> None:
    backoff = Backoff(initial_s=1, max_s=8, asked_max_s=60)
    for most in (1, 2, 4, 8, 8, 8):
        assert most / 2 <= backoff.after_failure_s(None) <= most
    backoff.reset()
    assert backoff.after_failure_s(None) <= 1


def test_what_a_receiver_asks_for_is_kept_up_to_a_bound() -> None:
    backoff = Backoff(initial_s=1, max_s=8, asked_max_s=60)
    assert backoff.after_failure_s(30) == 30
    assert backoff.after_failure_s(1e9) == 60


def test_dates_and_seconds_are_read() -> None:
    assert retry_after_s("120") == 120
    asked = retry_after_s(formatdate(time.time() + 100, usegmt=True))
    assert asked is not None
    assert 50 < asked <= 100
    assert retry_after_s(formatdate(time.time() - 100, usegmt=True)) == 0


@pytest.mark.parametrize("text", [None, "", "soon", "-5", "1.5", "９", "Mon, 99 Foo 2024"])
def test_what_says_nothing_is_ignored(text: str | None) -> None:
    assert retry_after_s(text) is None


@given(st.text())
def test_no_header_breaks_it(text: str) -> None:
    retry_after_s(text)
