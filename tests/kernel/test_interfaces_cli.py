"""Probes on interfaces on the command line: what can be said, what is told, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from kernel.network import Pair, frame, joined, pair
from kernel.sonde_process import SONDE, output_of, ready, sonde
from sonde.probes.packets.workload import all_frames

pytestmark = [pytest.mark.kernel, pytest.mark.host_only]

LOCAL = 0x88B5
PAUSE_S = 0.1
"""Between two packets of a flow: many ticks of the clock that it is told by."""


@pytest.fixture
def ends() -> Iterator[Pair]:
    with pair() as made, made.near.entered():
        yield made


def send(ends: Pair, count: int) -> None:
    ends.send(frame(ends.far, ends.near, LOCAL, b"sonde"), count=count, sender=ends.far)


def test_json_has_each_packet_once(ends: Pair) -> None:
    other = joined(ends, "other0", "other1")
    with ready(
        "top", "packets", "--interface", "sonde0", "--interface", "other*", "--format", "json"
    ) as process:
        send(ends, 107)
        send(other, 3)
        process.send_signal(signal.SIGINT)
        found = output_of(process)
    rows = {(row["interface"], row["direction"]): row for row in found.final}
    assert {("sonde0", "ingress"), ("other0", "ingress")} == set(rows)
    expected = {"ip_version": None, "protocol": "IEEE802_EX1", "packets": 107, "bytes": 107 * 60}
    assert expected.items() <= rows["sonde0", "ingress"].items()
    assert 110 == found.accounting["seen"] == found.accounting["aggregated"]
    assert (
        "sonde: sonde0, other0: in by xdp native, out by tc (tcx)\n" in found.err
        or "other0, sonde0" in found.err
    )


def test_json_has_all_of_a_flow(ends: Pair) -> None:
    """Its version, and its first and last time: between them as much as between its packets, at least."""
    kinds = {one.name: one for one in all_frames()}
    with ready("top", "packets", "--flows", "--interface", "sonde0", "--format", "json") as process:
        ends.send(kinds["udp"].data, kinds["tcp6"].data, sender=ends.far)
        time.sleep(PAUSE_S)
        ends.send(kinds["udp"].data, kinds["lldp"].data, sender=ends.far)
        process.send_signal(signal.SIGINT)
        found = output_of(process)
    rows = {(row["ip_version"], row["protocol"]): row for row in found.final}
    assert {(4, "UDP"): 2, (6, "TCP"): 1, (None, "LLDP"): 1} == {
        key: row["packets"] for key, row in rows.items()
    }
    udp, lldp = rows[4, "UDP"], rows[None, "LLDP"]
    assert ("192.0.2.1", 40011, "192.0.2.2", 53, "ingress", "sonde0", None) == tuple(
        udp[name]
        for name in (
            "source",
            "source_port",
            "destination",
            "destination_port",
            "direction",
            "interface",
            "tcp_flags",
        )
    )
    assert rows[6, "TCP"]["tcp_flags"] == "SYN,ACK"
    first, last = (datetime.fromisoformat(udp[name]) for name in ("first", "last"))
    assert (last - first).total_seconds() > PAUSE_S / 2
    assert (lldp["first"], lldp["source"], lldp["source_port"]) == (lldp["last"], None, None)


def test_a_person_sees_how_it_is_attached(ends: Pair) -> None:
    found = sonde(
        "top", "packets", "--for", "200ms", "--hook", "tc", "--interface", "sonde0", "--interface", "wg*"
    )
    heading, how, waiting, *_ = found.out.splitlines()
    assert heading.endswith("sonde top packets --hook tc --interface 'sonde0,wg*'")
    assert ("sonde0: in and out by tc (tcx)", "wg*: no interface has such a name yet") == (how, waiting)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--interface", "sonde1"), "--interface: there is no network interface sonde1 in this network namespace: did you mean sonde0? it has lo, sonde0"),
        (("--exclude-interface", "sonde1"), "--exclude-interface: there is no network interface sonde1 in"),
        (("--pid", "1"), "--pid cannot be had here: packets counts what passes interfaces, of whichever process: select with --interface"),
        (("--own",), "--own cannot be had here: packets counts"),
        (("--", "true"), "a command behind -- cannot be had here: packets counts"),
        (("--hook", "wire"), "--hook: there is no hook 'wire': valid: xdp or tc"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(ends: Pair, words: tuple[str, ...], reason: str) -> None:
    found = sonde("top", "packets", *words)
    assert (2, "") == (found.status, found.out)
    assert found.err.startswith(f"sonde top packets: {reason}")
    assert 1 == found.err.count("\n")


@pytest.mark.parametrize(
    ("kept", "lacking"),
    [((), "CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN"), (("bpf", "perfmon"), "CAP_NET_ADMIN")],
)
def test_what_a_user_lacks_is_named(ends: Pair, kept: tuple[str, ...], lacking: str) -> None:
    sets = ",".join(("-all", *(f"+{each}" for each in kept)))
    done = subprocess.run(
        ["setpriv", f"--inh-caps={sets}", f"--bounding-set={sets}", *SONDE, "top", "packets", "--for", "1s"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (77, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"sonde: load probe packets: the process lacks {lacking}: run it with sudo")


def test_probes_of_processes_have_no_interfaces(ends: Pair) -> None:
    found = sonde("top", "syscalls", "--interface", "lo")
    assert (2, "") == (found.status, found.out)
    assert "--interface cannot be had here: syscalls is on no interface: select with --pid" in found.err


def test_a_capture_has_the_names(ends: Pair, tmp_path: Path) -> None:
    path = str(tmp_path / "packets.arrow")
    with ready("record", "packets", "-o", path, "--interface", "sonde0") as process:
        send(ends, 109)
        ends.near.ip("link del dev sonde0")
        process.send_signal(signal.SIGINT)
        assert 0 == output_of(process).status
    found = sonde("report", path, "--format", "json")
    assert [("sonde0", 109)] == [(row["interface"], row["packets"]) for row in found.final]


def test_a_capture_of_flows_has_for_machines_what_they_get_at_once(ends: Pair, tmp_path: Path) -> None:
    path = str(tmp_path / "flows.arrow")
    with ready("record", "packets.flows", "-o", path, "--interface", "sonde0") as process:
        send(ends, 3)
        process.send_signal(signal.SIGINT)
        assert 0 == output_of(process).status
    with ready("top", "packets", "--flows", "--interface", "sonde0", "--format", "json") as process:
        send(ends, 3)
        process.send_signal(signal.SIGINT)
        (live,) = output_of(process).final
    (row,) = sonde("report", path, "--format", "json").final
    assert list(live) == list(row)
    assert row["first"] == row["last"] != live["first"]
    assert "ip_version" not in sonde("report", path).out


UDP = """\
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
    here.bind(("127.0.0.1", 0))
    for _ in range(13):
        there.sendto(b"sonde", here.getsockname())
        here.recv(16)
"""


def test_packets_are_recorded_beside_a_commands_calls(ends: Pair, tmp_path: Path) -> None:
    path = str(tmp_path / "both.arrow")
    found = sonde(
        "record",
        "packets,syscalls.counts",
        "-o",
        path,
        "--interface",
        "lo",
        "--",
        sys.executable,
        "-c",
        UDP,
    )
    assert 0 == found.status
    told = sonde("report", path, "packets.protocols", "--format", "json")
    assert {("UDP", "ingress"): 13, ("UDP", "egress"): 13} == {
        (row["protocol"], row["direction"]): row["packets"] for row in told.final
    }


def test_names_of_interfaces_are_completed(ends: Pair) -> None:
    found = sonde(
        env={
            **os.environ,
            "_SONDE_COMPLETE": "bash_complete",
            "COMP_WORDS": "sonde top packets --interface so",
            "COMP_CWORD": "4",
        }
    )
    assert "plain,sonde0\n" == found.out


def test_what_is_tried_touches_no_interface(ends: Pair) -> None:
    """sonde list runs each probe for a moment, this one in a namespace of its own."""
    before = ends.near.run("ip", "-d", "link", "show")
    told = [json.loads(line) for line in sonde("list", "--json").out.splitlines()]
    (packets,) = (each for each in told if each["probe"] == "packets")
    assert all(output["runs"] for output in packets["outputs"])
    assert {"xdp", "tcx:egress"} == {hook for output in packets["outputs"] for hook in output["hooks"]}
    assert before == ends.near.run("ip", "-d", "link", "show")
