"""What the probe ``tcp`` measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sonde.errors import KnobError
from sonde.probe import FOLLOWERS, Knob, Probe, Stream, Table, Variant, Walk
from sonde.probes.tcp.metrics import ACCEPT, CONNECT, PEERS, PROCESSES, RTT
from sonde.probes.tcp.ports import ports_of, ranges_of

if TYPE_CHECKING:
    from sonde.bpf import ObjectSpec
    from sonde.records.model import Enricher, RecordBatch

OUTPUTS = ("connections", "processes", "peers", "connect", "accept", "rtt")
"""By their numbers: enum output, connection.bpf.h."""

WALKED = ("processes", "peers")


def _ip_version(text: str) -> int:
    if text not in ("4", "6"):
        raise ValueError(f"{text!r} is no version of IP: give 4 or 6")
    return int(text)


def _configure(spec: ObjectSpec, output: str, values: Mapping[str, Any]) -> None:
    spec.knobs["output"].value = OUTPUTS.index(output)
    spec.maps["adopted"].autocreate = output in WALKED
    if values.get("ip_version") not in (None, 4, 6):
        why = f"{values['ip_version']!r} is no version of IP"
        raise KnobError("set ip_version of probe tcp", why=why, hint="give 4 or 6", knob="ip_version")
    if "ports" in values:
        spec.knobs["only_ports"].value = ranges_of(values["ports"])


def _stream_enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.address import with_addresses
    from sonde.enrich.comm import with_comm
    from sonde.enrich.errno_name import with_error_name
    from sonde.enrich.reset_reason import with_reset_reason
    from sonde.enrich.tcp_connection import with_direction, with_ends, with_owner, with_version
    from sonde.enrich.times import with_times

    return (
        with_times,
        with_comm,
        with_owner,
        with_version,
        with_addresses,
        with_direction,
        with_error_name,
        with_reset_reason,
        with_ends,
    )


def _processes_enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.comm import with_newest_comm
    from sonde.enrich.tcp_connection import with_owner

    return (with_newest_comm, with_owner, _with_sums)


def _peers_enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.address import with_addresses
    from sonde.enrich.comm import with_comm
    from sonde.enrich.tcp_connection import with_direction

    return (with_comm, with_addresses, with_direction, _without_port, _with_sums)


def _latency_enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.comm import with_newest_comm
    from sonde.enrich.duration import with_count, with_quantiles
    from sonde.enrich.errno_name import with_error_name
    from sonde.enrich.tcp_connection import with_owner

    return (with_newest_comm, with_owner, with_error_name, with_count("unmeasured"), with_quantiles)


def _with_sums(batch: RecordBatch) -> RecordBatch:
    """Connections and bytes in all, and the mean round-trip time: a float, for means do not add up."""
    import numpy as np

    counted = np.asarray(batch["rtt_count"])
    mean = np.asarray(batch["rtt_sum_ns"]) / np.maximum(counted, 1)
    return batch.adding(
        {
            "connections": np.asarray(batch["connects"])
            + np.asarray(batch["accepts"])
            + np.asarray(batch["older"]),
            "bytes": np.asarray(batch["sent_bytes"]) + np.asarray(batch["received_bytes"]),
            "rtt_ns": np.ma.masked_array(mean, mask=counted == 0),
        }
    )


def _without_port(batch: RecordBatch) -> RecordBatch:
    import numpy as np

    return batch.adding({"port": np.ma.masked_array(batch["port"], mask=np.asarray(batch["is_other"]))})


HOOKS = ("tcp_state", "tcp_reset_received", "tcp_reset_sent", "tcp_destroyed")
SEED = (Walk("seed_connections"),)
WALKS = (Walk("count_live", "sockets"), Walk("count_ended", "adopted"))
RAW = dict.fromkeys((*HOOKS, "accept_exited", *FOLLOWERS), "raw_tracepoint")

TRAFFIC = ("connections", "sent_bytes", "received_bytes", "rtt_ns", "retransmits", "resets", "failed")
REST = ("bytes", "connects", "accepts", "older", "closed")
LATENCY = ("count", "duration_sum_ns", "duration_p50_ns", "duration_p99_ns", "duration_max_ns")

PROBE = Probe(
    name="tcp",
    summary="TCP connections: whose, how long, how much, and how they end",
    tables=(
        Table(
            name="processes",
            map="processes",
            other="processes_other",
            programs=HOOKS,
            summary="connections and their bytes by process",
            counted=("connects", "accepts", "older"),
            sort="bytes",
            columns=("pid", "comm", *TRAFFIC),
            details=REST,
            enrich=_processes_enrichers,
            metrics=PROCESSES,
            cost_ns=1531,
            counting=("tcp_destroyed",),
            at_start=SEED,
            before_read=WALKS,
        ),
        Table(
            name="peers",
            map="peers",
            other="peers_other",
            programs=HOOKS,
            summary="connections and their bytes by peer and port",
            flag="--peers",
            counted=("connects", "accepts", "older"),
            sort="bytes",
            columns=("peer_address", "port", "direction", *TRAFFIC),
            details=REST,
            enrich=_peers_enrichers,
            metrics=PEERS,
            cost_ns=1552,
            counting=("tcp_destroyed",),
            at_start=SEED,
            before_read=WALKS,
        ),
        Table(
            name="connect",
            map="connect",
            other="connect_other",
            programs=HOOKS,
            summary="how long connects took until they were answered, or failed",
            flag="--connect",
            counted=("unmeasured", "duration_buckets"),
            columns=("pid", "comm", "error", *LATENCY),
            enrich=_latency_enrichers,
            metrics=CONNECT,
            cost_ns=805,
            counting=("tcp_destroyed",),
        ),
        Table(
            name="accept",
            map="accept",
            other="accept_other",
            programs=HOOKS,
            summary="how long connections waited to be accepted",
            flag="--accept",
            counted=("unmeasured", "duration_buckets"),
            columns=("pid", "comm", *LATENCY),
            enrich=_latency_enrichers,
            metrics=ACCEPT,
            cost_ns=599,
            counting=("tcp_destroyed",),
        ),
        Table(
            name="rtt",
            map="rtt",
            other="rtt_other",
            programs=HOOKS,
            summary="smoothed round-trip time of connections at their end",
            flag="--rtt",
            counted=("unmeasured", "duration_buckets"),
            columns=("pid", "comm", *LATENCY),
            enrich=_latency_enrichers,
            metrics=RTT,
            cost_ns=1245,
            counting=("tcp_destroyed",),
            at_start=SEED,
        ),
    ),
    streams=(
        Stream(
            name="connections",
            map="connections",
            programs=HOOKS,
            summary="each connection when it has ended",
            columns=(
                "time",
                "pid",
                "comm",
                "direction",
                "peer",
                "end",
                "latency_ns",
                "lifetime_ns",
                "sent_bytes",
                "received_bytes",
                "rtt_ns",
                "retransmits",
            ),
            details=(
                "ip_version",
                "local_address",
                "local_port",
                "peer_address",
                "peer_port",
                "connect_ns",
                "accept_ns",
                "error",
                "reset",
                "reset_reason",
                "begun_before",
            ),
            enrich=_stream_enrichers,
            cost_ns=1287,
            counting=("tcp_destroyed",),
            at_start=SEED,
        ),
    ),
    knobs=(
        Knob(
            "ports",
            "only connections with one of these ports on one side, separated by commas; also a range, 8000-8100",
            ports_of,
            metavar="PORTS",
            is_global=False,
            example="80,443",
        ),
        Knob(
            "ip_version",
            "only connections of this version of IP: 4 or 6",
            _ip_version,
            metavar="4|6",
            symbol="only_ip_version",
            example="4",
        ),
        Knob(
            "failed",
            "only connections that failed",
            bool,
            symbol="only_failed",
            outputs=("connections", "processes", "peers"),
        ),
    ),
    variants=(
        Variant("tp_btf, accept by fexit", programs=("accept_returned",)),
        Variant("tp_btf, accept by sys_exit", programs=("accept_exited",)),
        Variant("raw_tp, accept by sys_exit", programs=("accept_exited",), types=RAW),
    ),
    configure=_configure,
)
