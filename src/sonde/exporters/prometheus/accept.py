"""What a client can read, from its request's ``Accept`` and ``Accept-Encoding``."""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from sonde.exporters.prometheus import protobuf, text

RANGES_MAX = 32
"""Prometheus sends five."""


class Format(Enum):
    """A format of the page, by its content type."""

    TEXT = text.CONTENT_TYPE
    PROTOBUF = protobuf.CONTENT_TYPE


class Range(NamedTuple):
    """One of the things that a client takes, with its parameters, and how much it likes it (0 to 1)."""

    name: str
    parameters: dict[str, str]
    quality: float


def ranges(header: str) -> list[Range]:
    """Read the header's list; what makes no sense in it is left out."""
    found = []
    for part in header.split(",")[:RANGES_MAX]:
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        values = {key.strip(): value.strip().strip('"') for key, _, value in pairs}
        quality = values.pop("q", "1")
        # RFC 9110: a number from 0 to 1 with three digits at most.
        if name and re.fullmatch(r"(0(\.\d{0,3})?|1(\.0{0,3})?)", quality, re.ASCII):
            found.append(Range(name, values, float(quality)))
    return found


def chosen(accept: str) -> Format:
    """Choose what the client likes best of what there is; of equals, what it names first.

    A client that likes nothing of it, or says nothing, gets text, as from Prometheus's own libraries.
    """
    best, most = Format.TEXT, 0.0
    for wanted in ranges(accept):
        if wanted.quality > most and (found := _format_of(wanted)):
            best, most = found, wanted.quality
    return best


def takes_gzip(accept_encoding: str) -> bool:
    """Tell whether the answer may be compressed."""
    qualities = {wanted.name: wanted.quality for wanted in ranges(accept_encoding)}
    return qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0))) > 0


def _format_of(wanted: Range) -> Format | None:
    if wanted.name == "application/vnd.google.protobuf":
        is_ours = (
            wanted.parameters.get("proto") == "io.prometheus.client.metricfamily"
            and wanted.parameters.get("encoding") == "delimited"
        )
        return Format.PROTOBUF if is_ours else None
    if wanted.name == "text/plain":
        return Format.TEXT if wanted.parameters.get("version", "0.0.4") == "0.0.4" else None
    return Format.TEXT if wanted.name in ("*/*", "text/*") else None
