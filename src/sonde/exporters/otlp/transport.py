"""One attempt to deliver a request, whatever the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sonde.exporters.text import visible

if TYPE_CHECKING:
    from sonde.exporters.otlp.settings import OtlpDelivery
    from sonde.exporters.otlp.signal import Signal


MESSAGE_LENGTH_MAX = 200
SPEAKS_NO_TLS = "the receiver speaks no TLS there: write http://, or its port for TLS"


def shortened(text: str) -> str:
    """Give what a receiver or a library says on one line, harmless and not too long."""
    text = visible(" ".join(text.split()))
    return text if len(text) <= MESSAGE_LENGTH_MAX else f"{text[:MESSAGE_LENGTH_MAX]}…"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt.

    ``cause`` is empty when the receiver has the request: without ``rejected`` items of it, then. Otherwise it is
    ``unavailable``, ``timeout``, ``certificate``, ``closed``, ``status 429``, …; ``message`` says more, and
    ``retry_after_s`` when the receiver wants to be asked again, if it says so.
    """

    cause: str = ""
    message: str = ""
    is_retryable: bool = False
    retry_after_s: float | None = None
    rejected: int = 0


class Transport(Protocol):
    """Sends requests to one place, from one thread; ``abort`` and ``close`` may come from another."""

    @property
    def destination(self) -> str:
        """Give the URL or the target, for messages."""
        ...

    def send(self, body: bytes, *, timeout_s: float) -> Outcome:
        """Send one request and wait for the answer, for so long at most; raises nothing for a receiver's failure."""
        ...

    def abort(self) -> None:
        """End the attempt that is under way, if one is."""
        ...

    def close(self) -> None:
        """Give up the connection; again is fine."""
        ...


def open_transport(delivery: OtlpDelivery, signal: Signal) -> Transport:
    """Give the transport of a delivery; nothing is connected yet. Each imports what it needs."""
    if delivery.protocol == "grpc":
        from sonde.exporters.otlp.grpc import GrpcTransport

        return GrpcTransport(delivery, signal)
    from sonde.exporters.otlp.http import HttpTransport

    return HttpTransport(delivery, signal)
