"""The agent with a probe on interfaces: exact counts, privileges in the loader alone, reloads without a gap."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel.network import Pair, frame, joined, pair
from kernel.running_agent import Agent, agent, counts
from kernel.sonde_process import PATIENCE_S, sonde
from sonde.agent.config import load_config
from sonde.bpf.capabilities import number_of
from sonde.errors import ConfigError

pytestmark = [pytest.mark.kernel, pytest.mark.host_only]

LOCAL = 0x88B5
SETTINGS = {
    "probes__packets__enabled": "true",
    "probes__syscalls__enabled": "false",
    "probes__processes__enabled": "false",
}


@pytest.fixture
def ends() -> Iterator[Pair]:
    with pair() as made, made.near.entered():
        yield made


def send(ends: Pair, count: int) -> None:
    ends.send(frame(ends.far, ends.near, LOCAL, b"sonde"), count=count, sender=ends.far)


def received(page: str, interface: str) -> int:
    labels = {"network_interface_name": interface, "network_io_direction": "receive"}
    return counts(page, "system_network_packet_count_total", **labels)


def page_with(running: Agent, interface: str, packets: int) -> str:
    """A page that was read when so many packets had come; one may be older than it looks on a busy machine."""

    def found() -> str:
        page = running.fresh_page()
        return page if received(page, interface) >= packets else ""

    return str(running.until(found))


def capabilities(pid: int) -> int:
    (line,) = (
        each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("CapPrm")
    )
    return int(line.split()[1], 16)


def test_its_counts_are_exact_over_interfaces_that_come_and_go(ends: Pair, tmp_path: Path) -> None:
    with agent(tmp_path, **SETTINGS) as running:
        send(ends, 103)
        late = joined(ends, "late0", "late1")
        running.until(lambda: "packets.protocols: late0: in by xdp native" in _asked(running))
        send(late, 59)
        ends.near.ip("link del dev late0")
        running.until(lambda: "packets.protocols: late0 is measured no more" in _asked(running))
        send(ends, 11)
        page = page_with(running, "sonde0", 114)
        assert (114, 59) == (received(page, "sonde0"), received(page, "late0"))
        summary = running.end()
    account = summary["outputs"]["packets.protocols"]
    assert 114 + 59 == account["seen"] == account["aggregated"]


def test_one_that_came_and_went_between_two_readings_has_its_name(ends: Pair, tmp_path: Path) -> None:
    settings = {**SETTINGS, "interval": "600s"}
    with agent(tmp_path, **settings) as running:
        late = joined(ends, "late0", "late1")
        running.until(lambda: "xdp" in ends.near.run("ip", "link", "show", "dev", "late0"))
        # The egress program is attached after the ingress one; both are there once the loader answers.
        send(late, 61)
        ends.near.ip("link del dev late0")
        assert 61 == received(page_with(running, "late0", 61), "late0")


def _asked(running: Agent) -> str:
    """What it has said by now: it asks the loader whenever it reads."""
    return running.said.read_text()


def test_the_loader_may_attach_and_the_agent_nothing(ends: Pair, tmp_path: Path) -> None:
    admin = 1 << number_of("CAP_NET_ADMIN")
    with agent(tmp_path, **SETTINGS) as running:
        assert 0 == capabilities(running.process.pid)
        assert capabilities(running.loader_pid) & admin
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with agent(
        elsewhere, **{**SETTINGS, "probes__packets__enabled": "false", "probes__syscalls__enabled": "true"}
    ) as running:
        assert not capabilities(running.loader_pid) & admin, "no probe names it"


def test_a_reload_keeps_what_goes_on_without_a_gap(ends: Pair, tmp_path: Path) -> None:
    """Packets pass all the while, and each of them is counted; only another interface begins and one ends."""
    other = joined(ends, "other0", "other1")
    file = tmp_path / "sonde.toml"

    def configure(interfaces: list[str]) -> None:
        file.write_text(
            "[probes.syscalls]\nenabled = false\n[probes.processes]\nenabled = false\n"
            f"[probes.packets]\ninterfaces = {json.dumps(interfaces)}\n"
        )
        file.chmod(0o600)

    configure(["sonde0"])
    with agent(tmp_path, "-c", str(file)) as running:
        before = ends.far.counters().tx_packets
        flood = ends.far.popen(
            sys.executable, "-c", FLOOD, ends.far.interface, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert flood.stdout is not None
        assert flood.stdout.readline() == "begun\n"
        for at, interfaces in enumerate((["sonde0", "other0"], ["sonde*", "lo"], ["sonde0", "other*"])):
            configure(interfaces)
            running.process.send_signal(signal.SIGHUP)
            running.until(lambda at=at: running.said.read_text().count("configuration reloaded") == at + 1)
        flood.communicate("\n", timeout=PATIENCE_S)
        # What finds the other end's ring full does not get there.
        sent = ends.far.counters().tx_packets - before
        send(other, 73)
        page_with(running, "other0", 73)
        page = page_with(running, "sonde0", sent)
        assert (sent, 73) == (received(page, "sonde0"), received(page, "other0"))
        said = running.said.read_text()
        assert 1 == said.count("packets.protocols: sonde0: "), "it was attached once"


FLOOD = """\
import select, socket, sys, time
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
wire.bind((sys.argv[1], 0))
frame = (b"\\xff" * 12 + b"\\x88\\xb5").ljust(60, b"\\0")
wire.send(frame)
print("begun", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    try:
        wire.send(frame)
    except OSError:
        pass
    time.sleep(0.0005)
"""


def test_what_cannot_be_is_refused_with_its_line(ends: Pair, tmp_path: Path) -> None:
    path = tmp_path / "sonde.toml"
    path.write_text('[probes.packets]\ninterfaces = ["sonde1"]\n')
    path.chmod(0o600)
    found = sonde("config", "check", str(path))
    assert (2, "") == (found.status, found.out)
    assert f"{path}:2: probes.packets.interfaces: there is no network interface sonde1" in found.err
    assert "did you mean sonde0?" in found.err
    for line, words in (
        ("pid = 7", "there is no such key"),
        ("interfaces = [true]", "give a network interface by name"),
        ("interfaces = [0]", "give a network interface by name"),
        ('exclude_interfaces = [""]', "give a network interface by name"),
    ):
        path.write_text(f"[probes.packets]\n{line}\n")
        with pytest.raises(ConfigError, match=words):
            load_config(str(path), {})


def test_names_patterns_and_numbers_are_read(ends: Pair, tmp_path: Path) -> None:
    path = tmp_path / "sonde.toml"
    path.write_text(
        f'[probes.packets]\ninterfaces = ["sonde*", {ends.near.index}]\nexclude_interfaces = "gone0"\n'
    )
    path.chmod(0o600)
    selection = load_config(str(path), {}).probes["packets"].selection
    assert ("sonde*", ends.near.index) == selection.interfaces
    assert ("gone0",) == selection.exclude_interfaces
    variables = {"SONDE_PROBES_PACKETS_INTERFACES": "lo, veth*"}
    assert ("lo", "veth*") == load_config(None, variables).probes["packets"].selection.interfaces


def test_kill_9_of_the_loader_leaves_nothing_attached(ends: Pair, tmp_path: Path) -> None:
    with agent(tmp_path, **SETTINGS) as running:
        send(ends, 17)
        os.kill(running.loader_pid, signal.SIGKILL)
        out, _ = running.process.communicate(timeout=PATIENCE_S)
    assert 1 == running.process.returncode
    account = json.loads(out)["summary"]["outputs"]["packets.protocols"]
    assert 17 == account["seen"] == account["aggregated"]
    # The loader may still close what it held.
    deadline = time.monotonic() + PATIENCE_S
    while "xdp" in ends.near.run("ip", "link", "show", "dev", "sonde0"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_would_be_measured_is_told(ends: Pair, tmp_path: Path) -> None:
    path = tmp_path / "sonde.toml"
    path.write_text('[probes.packets]\nexclude_interfaces = ["docker*"]\n')
    path.chmod(0o600)
    told = sonde("config", "check", str(path)).out
    assert "; all interfaces but loopback; exclude_interfaces docker*" in told
    path.write_text('[probes.packets]\ninterfaces = ["sonde0", "wg*"]\n')
    (run,) = (
        each
        for each in sonde("config", "check", "--json", str(path)).lines[0]["runs"]
        if each["probe"] == "packets"
    )
    assert {"interfaces": ["sonde0", "wg*"]} == run["only"]
