"""The probe ``tcp``: which connections are told where only some are asked for."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

from kernel.network import pair, settle
from sonde.errors import KnobError
from sonde.probes.tcp.child import PRELUDE, TCP, connections_of, records
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]
RUN = "Workload(*map(int, sys.argv[2:])).run(sys.argv[1])"
NUMBERS = ("101", "17", "13")


def test_only_failed_ones_or_one_port_when_asked() -> None:
    rows, batch, _ = connections_of(RUN, "127.0.0.1", *NUMBERS, values={"failed": True})
    assert Counter(row["end"] for row in rows) == {"ECONNREFUSED": 17}
    assert batch.accounting.filtered >= 2 * 101 + 2 * 13
    assert batch.accounting.balanced

    rows, batch, _ = connections_of(RUN, "127.0.0.1", *NUMBERS, values={"ports": ("1", "2-3")})
    assert rows == []
    assert batch.accounting.balanced


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"ports": "4709-4711"}, {(4, 4711), (6, 4711)}),
        ({"ports": "4712-4714,4720"}, {(4, 4713), (6, 4713)}),
        ({"ip_version": 4, "ports": "4709-4713"}, {(4, 4711), (4, 4713)}),
        ({"ip_version": 6, "ports": [4713]}, {(6, 4713)}),
    ],
    ids=str,
)
def test_ranges_of_ports_and_versions_of_ip(values: dict[str, Any], told: set[tuple[int, int]]) -> None:
    """Two ports are asked over each version; a socket of IPv6 that asks over IPv4 is one of IPv4."""
    code = """
for port in (4711, 4713):
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        for address in ("::ffff:" + sys.argv[1], sys.argv[2]):
            with socket.create_connection((address, port)) as client, server.accept()[0] as accepted:
                client.shutdown(socket.SHUT_WR)
                accepted.recv(1)
                accepted.shutdown(socket.SHUT_WR)
                client.recv(1)
"""
    with (
        pair() as wire,
        Run(TCP, "peers", values=values) as table,
        Run(TCP, "connections", values=values) as run,
    ):
        wire.far.python(PRELUDE + code, wire.far.address, wire.far.address6)
        settle()
        table.stop()
        run.stop()
        rows = records(run)
        peers = table.read()
    ends = [
        (row["ip_version"], row["peer_port" if row["direction"] == "connect" else "local_port"])
        for row in rows
    ]
    assert Counter(ends) == dict.fromkeys(told, 2)
    assert Counter((6 if ":" in row["peer_address"] else 4, row["port"]) for row in peers.rows()) == Counter(
        ends
    )
    assert peers.accounting.balanced, str(peers.accounting)


@pytest.mark.parametrize(
    ("output", "values", "told"),
    [
        ("rtt", {"failed": True}, "set failed of probe tcp: output rtt has no such knob: it goes with connections or processes or peers"),
        ("connections", {"ip_version": 5}, "set ip_version of probe tcp: 5 is no version of IP: give 4 or 6"),
    ],
)  # fmt: skip
def test_what_would_select_nothing_or_change_nothing_is_refused(
    output: str, values: dict[str, Any], told: str
) -> None:
    with pytest.raises(KnobError) as refused, Run(TCP, output, values=values):
        pass
    assert str(refused.value) == told
