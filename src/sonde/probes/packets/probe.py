"""What the probe ``packets`` measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.probe import BARE, HOOK, Probe, Table
from sonde.records.metrics import Metric

if TYPE_CHECKING:
    from sonde.records.model import Enricher, RecordBatch


def _protocols_enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.protocol_name import with_protocol_name

    return (_with_network_attributes, with_protocol_name)


def _flows_enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.address import with_addresses
    from sonde.enrich.protocol_name import with_protocol_name
    from sonde.enrich.tcp_flags import with_tcp_flags
    from sonde.enrich.times import with_times

    return (
        with_times,
        _with_first,
        with_addresses,
        _without_what_is_none,
        with_protocol_name,
        with_tcp_flags,
    )


def _with_first(batch: RecordBatch) -> RecordBatch:
    """Add when a flow was first seen: as long before ``last`` as the kernel's clock says, whatever the wall's does."""
    import numpy as np

    from sonde.enrich.times import WALL

    last, first = (np.asarray(batch[f"{name}_ns"]).astype(np.int64) for name in ("last", "first"))
    return batch.adding({"first": batch["last"] - (last - first)}, meanings={"first": WALL})


def _without_what_is_none(batch: RecordBatch) -> RecordBatch:
    """Mask addresses of what is no IP, or not as it should be, and ports that were not read."""
    import numpy as np

    no_ip = (np.asarray(batch["ip_version"]) == 0) | _is_reason(np.asarray(batch["protocol"]))
    no_ports = (np.asarray(batch["source_port"]) == 0) & (np.asarray(batch["destination_port"]) == 0)
    added: dict[str, Any] = {}
    for name in ("source", "destination"):
        added[name] = np.ma.masked_where(no_ip, batch[name])
        added[f"{name}_port"] = np.ma.masked_where(no_ports, batch[f"{name}_port"])
    return batch.adding(added)


def _is_reason(protocols: Any) -> Any:
    from sonde.enrich.protocol_name import REASON, REASONS

    return (protocols > REASON) & (protocols <= REASON + max(REASONS))


def _with_network_attributes(batch: RecordBatch) -> RecordBatch:
    """Add what OpenTelemetry calls a row's direction, network and transport, and why these are not known."""
    import numpy as np

    from sonde.enrich.each import each_once
    from sonde.enrich.protocol_name import REASON, REASONS, ethertype_name, ip_protocol_name

    protocols, versions = np.asarray(batch["protocol"]), np.asarray(batch["ip_version"])
    is_reason, is_ip = _is_reason(protocols), versions != 0
    networks = each_once(np.where(is_ip, 0, protocols), lambda number: ethertype_name(number).lower())
    networks[is_ip] = np.array(["ipv4", "ipv6"], dtype=object)[versions[is_ip] // 6]
    transports = each_once(
        np.where(is_ip, protocols, 0) & 0xFF, lambda number: ip_protocol_name(number).lower()
    )
    return batch.adding(
        {
            "network_direction": np.array(["receive", "transmit"], dtype=object)[batch["direction"]],
            "network_type": np.ma.masked_where(is_reason & ~is_ip, networks),
            "network_transport": np.ma.masked_where(is_reason | ~is_ip, transports),
            "reason": each_once(
                np.ma.masked_where(~is_reason, protocols), lambda number: REASONS[number - REASON]
            ),
        }
    )


def _programs(table: str) -> tuple[str, ...]:
    """Name a table's programs: for XDP, for either direction of traffic control, and for bare interfaces."""
    ways = ("ingress", "egress")
    return (
        f"{table}_xdp",
        *(f"{table}_{way}" for way in ways),
        *(f"{table}_{way}{BARE}" for way in ways),
    )


ATTRIBUTES = {
    "network.interface.name": "interface",
    "network.io.direction": "network_direction",
    "network.type": "network_type",
    "network.transport": "network_transport",
    "error.type": "reason",
}

PACKETS = Metric(
    name="system.network.packet.count",
    kind="counter",
    unit="{packet}",
    description="Packets that passed an interface, by protocol.",
    value="packets",
    attributes=ATTRIBUTES,
)
BYTES = Metric(
    name="system.network.io",
    kind="counter",
    unit="By",
    description="Bytes that passed an interface, link-layer headers among them, by protocol.",
    value="bytes",
    attributes=ATTRIBUTES,
)

PROBE = Probe(
    name="packets",
    summary="packets that pass network interfaces, by protocol and by flow",
    tables=(
        Table(
            name="protocols",
            map="protocols",
            other="protocols_other",
            programs=_programs("protocols"),
            summary="packets and bytes by interface, direction, IP version and protocol",
            counted=("packets",),
            sort="packets",
            columns=("interface", "direction", "ip_version", "protocol", "packets", "bytes"),
            enrich=_protocols_enrichers,
            metrics=(PACKETS, BYTES),
            cost_ns=2.1,
        ),
        Table(
            name="flows",
            map="flows",
            other="flows_other",
            programs=_programs("flows"),
            summary="the same by flow: addresses, ports, TCP flags, first and last time",
            flag="--flows",
            counted=("packets",),
            sort="packets",
            columns=(
                "interface",
                "direction",
                "protocol",
                "source",
                "source_port",
                "destination",
                "destination_port",
                "packets",
                "bytes",
                "tcp_flags",
            ),
            details=("ip_version", "first", "last"),
            enrich=_flows_enrichers,
            cost_ns=24,
        ),
    ),
    knobs=(HOOK,),
    capabilities=("CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"),
    on_interfaces=True,
)
