"""Ports as one gives them to the probe ``tcp``: numbers, and ranges of them."""

from __future__ import annotations

from collections.abc import Iterable

from sonde.errors import KnobError

PORTS_MAX = 8  # connection.bpf.h


def ports_of(text: str) -> tuple[str, ...]:
    """Read ports from a text; ValueError where one is none, or where there are none or too many."""
    ports = tuple(text.replace(",", " ").split())
    if not ports:
        raise ValueError("no port is given: give 80, 80,443 or 8000-8100")
    if len(ports) > PORTS_MAX:
        raise ValueError(
            f"{len(ports)} ports are too many: give {PORTS_MAX} at most, or a range as 8000-8100"
        )
    for port in ports:
        _range_of(port)
    return ports


def ranges_of(ports: str | Iterable[str | int]) -> list[int]:
    """Give the first and the last port of each, and zeros for those that could be more; raises KnobError."""
    try:
        found = ports_of(ports if isinstance(ports, str) else ",".join(map(str, ports)))
    except ValueError as error:
        why, _, hint = str(error).partition(": ")
        raise KnobError("set ports of probe tcp", why=why, hint=hint, knob="ports") from error
    ends = [end for port in found for end in _range_of(port)]
    return ends + [0] * (2 * PORTS_MAX - len(ends))


def _range_of(port: str) -> tuple[int, int]:
    first, dash, last = port.partition("-")
    ends = (_number(first), _number(last if dash else first))
    if not 1 <= ends[0] <= ends[1] <= 65535:
        raise ValueError(f"{port!r} is no port: give a number from 1 to 65535, or a range as 8000-8100")
    return ends


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
