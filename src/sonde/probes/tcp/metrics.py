"""What the tables of the probe ``tcp`` are to machines."""

from __future__ import annotations

from sonde.records.metrics import Metric, durations

PEER = {
    "network.peer.address": "peer_address",
    "sonde.tcp.port": "port",
    "sonde.tcp.direction": "direction",
}
"""Attributes of peers; whose a connection is of a process's table is added by what exports it."""

ERROR = {"error.type": "error"}


def _counter(name: str, unit: str, description: str, value: str) -> Metric:
    return Metric(name=f"sonde.tcp.{name}", kind="counter", unit=unit, description=description, value=value)


PROCESSES = (
    _counter(
        "connections",
        "{connection}",
        "TCP connections that were begun, accepted or found open.",
        "connections",
    ),
    _counter(
        "failures", "{connection}", "TCP connections that failed before they were established.", "failed"
    ),
    _counter("resets", "{connection}", "TCP connections on which a reset was sent or received.", "resets"),
    _counter("retransmits", "{segment}", "TCP segments that were sent again.", "retransmits"),
    _counter("sent", "By", "Bytes that were sent over TCP and acknowledged.", "sent_bytes"),
    _counter("received", "By", "Bytes that were received over TCP.", "received_bytes"),
)

PEERS = tuple(
    Metric(
        name=metric.name.replace("sonde.tcp.", "sonde.tcp.peer."),
        kind=metric.kind,
        unit=metric.unit,
        description=metric.description.removesuffix(".") + ", by peer.",
        value=metric.value,
        attributes=PEER,
    )
    for metric in PROCESSES
)


def _duration(name: str, description: str, attributes: dict[str, str]) -> tuple[Metric, Metric]:
    return (
        durations(f"sonde.tcp.{name}", description, attributes),
        Metric(
            name=f"sonde.tcp.{name}.unmeasured",
            kind="counter",
            unit="{connection}",
            description="TCP connections of which this was not measured.",
            value="unmeasured",
            attributes=attributes,
        ),
    )


CONNECT = _duration("connect.duration", "Time until a connect was answered or failed, by error.", ERROR)
ACCEPT = _duration("accept.duration", "Time that established connections waited to be accepted.", {})
RTT = _duration("rtt", "Smoothed round-trip time of connections at their end.", {})
