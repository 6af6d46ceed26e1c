"""Which format a client gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde.exporters.prometheus.accept import Format, chosen, takes_gzip

PROMETHEUS_2_42 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROMETHEUS_2_42_NATIVE = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
    "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;"
    "version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROMETHEUS_3_NATIVE = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
    + PROMETHEUS_3
)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (PROMETHEUS_2_42, Format.TEXT),
        (PROMETHEUS_2_42_NATIVE, Format.PROTOBUF),
        (PROMETHEUS_3, Format.TEXT),
        (PROMETHEUS_3_NATIVE, Format.PROTOBUF),
        ("", Format.TEXT),
        ("*/*", Format.TEXT),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format.TEXT),
        ("application/json", Format.TEXT),
        ("application/vnd.google.protobuf", Format.TEXT),
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
            Format.TEXT,
        ),
        (
            'Application/Vnd.Google.Protobuf; proto="io.prometheus.client.MetricFamily" ; encoding=delimited ;Q=0.3, text/plain;q=0.2',
            Format.PROTOBUF,
        ),
        (PROMETHEUS_2_42_NATIVE.replace("delimited", "delimited;q=0.4"), Format.TEXT),
        (PROMETHEUS_2_42_NATIVE.replace("delimited", "delimited;q=0"), Format.TEXT),
        (PROMETHEUS_2_42_NATIVE.replace("delimited", "delimited;q=banana"), Format.TEXT),
        (",;=,;q=,;;;", Format.TEXT),
        ("a;" * 5000, Format.TEXT),
    ],
)
def test_a_client_gets_what_it_likes_best(accept: str, expected: Format) -> None:
    assert expected is chosen(accept)


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("", False),
        ("gzip;q=2", False),
    ],
)
def test_gzip_is_for_those_who_take_it(accept_encoding: str, *, expected: bool) -> None:
    assert expected is takes_gzip(accept_encoding)


@given(st.text())
def test_whatever_is_asked_there_is_an_answer(accept: str) -> None:
    assert chosen(accept) in Format
    assert takes_gzip(accept) in (True, False)
