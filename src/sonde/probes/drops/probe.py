"""What the probe ``drops`` measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sonde.errors import KnobError
from sonde.probe import Knob, Probe, Stream, Table, Variant
from sonde.records.metrics import Metric

if TYPE_CHECKING:
    from sonde.bpf import ObjectSpec
    from sonde.records.model import Enricher, RecordBatch


def _configure(spec: ObjectSpec, output: str, values: Mapping[str, Any]) -> None:
    from sonde.enrich.network_namespace import namespace_number

    wanted = values.get("netns")
    if wanted is None:
        return
    try:
        spec.knobs["only_netns"].value = namespace_number(wanted)
    except OSError as error:
        raise KnobError(
            "set netns of probe drops",
            why=f"there is no network namespace {wanted!r}: {error.strerror}",
            hint="give a name of ip netns, a path as /proc/PID/ns/net, or a pid",
            knob="netns",
        ) from error


def _enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.drop_reason import with_drop_reason
    from sonde.enrich.kernel_symbol import with_kernel_symbols
    from sonde.enrich.protocol_name import with_protocol_name
    from sonde.enrich.times import with_times

    return (
        with_drop_reason,
        with_kernel_symbols,
        with_protocol_name,
        _without_unset,
        _with_interface,
        with_times,
    )


def _table_enrichers() -> tuple[Enricher, ...]:
    return (*_enrichers(), _with_network, _by_function)


def _stream_enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.address import with_addresses

    return (*_enrichers(), with_addresses, _with_endpoints)


def _without_unset(batch: RecordBatch) -> RecordBatch:
    """Mask what the kernel had not set: the protocol of a packet that was given none, and all but counts of ``other``."""
    import numpy as np

    others = np.asarray(batch.columns.get("is_other", np.zeros(len(batch), bool)))
    unset = np.asarray(batch["protocol"]) == UNSET
    reason = np.ma.masked_array(batch["reason"], mask=np.ma.getmaskarray(batch["reason"]) & ~others)
    reason[others] = "other"
    added: dict[str, Any] = {
        "reason": reason,
        "protocol": np.ma.masked_array(batch["protocol"], mask=unset | others),
    }
    for name in ("netns_id", "ifindex"):
        added[name] = np.ma.masked_array(batch[name], mask=np.asarray(batch[name]) == 0)
    return batch.adding(added)


def _with_network(batch: RecordBatch) -> RecordBatch:
    """Add the protocols as OpenTelemetry writes them: ``ipv4``, ``udp``."""
    from sonde.enrich.each import each_once

    return batch.adding(
        {
            "network_type": each_once(batch["ip_version"], lambda version: f"ipv{version}"),
            "network_transport": each_once(batch["protocol"], str.lower),
        }
    )


def _with_endpoints(batch: RecordBatch) -> RecordBatch:
    """Add ``source`` and ``destination``, addresses with ports where there are some; mask what a packet has not."""
    import numpy as np

    from sonde.enrich.address import endpoint
    from sonde.enrich.each import TEXT, each_once
    from sonde.enrich.tcp_flags import tcp_flags_text

    added: dict[str, Any] = {"tcp_flags": each_once(batch["tcp_flags"], tcp_flags_text)}
    has_ports = np.asarray(batch["has_ports"]).tolist()
    unknown = np.ma.getmaskarray(batch["ip_version"])
    parts: dict[str, Any] = {}
    for name in ("source", "destination"):
        pairs = zip(batch[f"{name}_address"].tolist(), batch[f"{name}_port"].tolist(), has_ports, strict=True)
        words = np.empty(len(batch), dtype=object)
        words[:] = [endpoint(address, port) if has else address for address, port, has in pairs]
        added[name] = np.ma.masked_array(words, mask=unknown)
        parts[f"{name}_address"] = np.ma.masked_array(batch[f"{name}_address"], mask=unknown)
        parts[f"{name}_port"] = np.ma.masked_array(batch[f"{name}_port"], mask=~np.array(has_ports, bool))
    return batch.adding(added, meanings=dict.fromkeys(added, TEXT)).adding(parts)


def _with_interface(batch: RecordBatch) -> RecordBatch:
    """Name interfaces as the kernel named them.

    One that is known by its number alone has the name that other rows have for it, or that it has in sonde's own
    namespace, or else is ``if4711``.
    """
    import numpy as np

    from sonde.enrich.comm import as_text
    from sonde.enrich.each import TEXT
    from sonde.enrich.interface import names_here
    from sonde.enrich.network_namespace import namespace_number

    names = as_text(np.asarray(batch["interface"]))
    places = list(
        zip(
            np.ma.filled(batch["netns_id"], 0).tolist(),
            np.ma.filled(batch["ifindex"], 0).tolist(),
            strict=True,
        )
    )
    unnamed = [at for at, (_, index) in enumerate(places) if index and not names[at]]
    if unnamed:
        here = namespace_number("/proc/thread-self/ns/net")
        known = {(here, index): name for index, name in names_here().items()}
        known |= {place: name for place, name in zip(places, names.tolist(), strict=True) if name}
        for at in unnamed:
            names[at] = known.get(places[at], f"if{places[at][1]}")
    masked = np.ma.masked_array(names, mask=names == "")
    return batch.adding({"interface": masked}, meanings={"interface": TEXT})


def _by_function(batch: RecordBatch) -> RecordBatch:
    """Make one row of a function's, which may drop in several places."""
    from sonde.records.grouping import grouped

    return grouped(batch, KEY, ("packets", "bytes", "last_seen"))


UNSET = "reason_255"
"""What PROTOCOL_UNSET (drop.bpf.h) is named."""

KEY = (
    "reason",
    "function",
    "function_module",
    "ip_version",
    "protocol",
    "network_type",
    "network_transport",
    "interface",
    "ifindex",
    "netns_id",
)
ROW = (
    "reason",
    "function",
    "ip_version",
    "protocol",
    "interface",
    "packets",
    "bytes",
    "last_seen",
    "netns_id",
)
RECORD = (
    "time",
    "reason",
    "function",
    "interface",
    "protocol",
    "source",
    "destination",
    "tcp_flags",
    "bytes",
)
DETAILS = (
    "ip_version",
    "source_address",
    "source_port",
    "destination_address",
    "destination_port",
    "netns_id",
)

WHY = {
    "sonde.drop.reason": "reason",
    "sonde.drop.function": "function",
    "network.type": "network_type",
    "network.transport": "network_transport",
    "network.interface.name": "interface",
}
PACKETS = Metric(
    name="sonde.drop.packets",
    kind="counter",
    unit="{packet}",
    description="Packets that the kernel dropped, by reason and dropping function.",
    value="packets",
    attributes=WHY,
)
BYTES = Metric(
    name="sonde.drop.io",
    kind="counter",
    unit="By",
    description="Bytes of packets that the kernel dropped, from the network header on.",
    value="bytes",
    attributes=WHY,
)
PROGRAMS = ("counts_drop", "packets_drop")

PROBE = Probe(
    name="drops",
    summary="packets that the kernel dropped, why and where",
    tables=(
        Table(
            name="counts",
            map="counts",
            other="counts_other",
            programs=("counts_drop",),
            summary="drops by reason, function, protocol and interface",
            counted=("packets",),
            sort="packets",
            columns=ROW,
            enrich=_table_enrichers,
            metrics=(PACKETS, BYTES),
            cost_ns=254,
        ),
    ),
    streams=(
        Stream(
            name="packets",
            map="packets",
            programs=("packets_drop",),
            summary="each dropped packet with its addresses, the reason and the function",
            columns=RECORD,
            details=DETAILS,
            enrich=_stream_enrichers,
            cost_ns=280,
        ),
    ),
    knobs=(
        Knob(
            "netns",
            "only this network namespace: a name of ip netns, a path, or a pid; all of them",
            str,
            metavar="NETNS",
            is_global=False,
            example="/proc/1/ns/net",
        ),
    ),
    variants=(
        Variant("tp_btf"),
        Variant("raw_tp", types=dict.fromkeys(PROGRAMS, "raw_tracepoint"), globals={"is_typed": False}),
    ),
    configure=_configure,
    of_processes=False,
)
