"""The systemd unit, under a real systemd: it starts, is hardened and still works, reloads, and stops."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel.service.booted import Machine, booted
from kernel.sonde_process import PATIENCE_S

pytestmark = [pytest.mark.kernel, pytest.mark.beside, pytest.mark.host_only]

CONFIGURATION = 'interval = "1s"\n[budget]\ncpu = "off"\n'
SCRAPE = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/{page}', timeout=60).read().decode())"
NOTHING = "0" * 16
DROP_IN = Path(__file__).resolve().parents[2] / "packaging" / "systemd" / "interfaces.conf"


def cgroup2() -> str:
    """Where this machine has the hierarchy of version 2."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return next((mount[1] for mount in mounts if mount[2] == "cgroup2"), "")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A systemd that has the unit, not started."""
    if not cgroup2():
        pytest.skip("no cgroup2 file system is mounted: mount -t cgroup2 none /sys/fs/cgroup")
    with booted(tmp_path_factory.mktemp("machine"), cgroup2(), CONFIGURATION) as made:
        yield made


@pytest.fixture
def service(machine: Machine) -> Iterator[Machine]:
    """The unit, started."""
    assert machine.systemctl("start", "sonde.service") == 0, machine.said()
    yield machine
    machine.systemctl("stop", "sonde.service")
    machine.systemctl("reset-failed", "sonde.service")


def page(machine: Machine, name: str, port: int = 9464) -> str:
    return machine.run("/opt/base/bin/python3", "-c", SCRAPE.format(page=name, port=port)).stdout


def until(found: Callable[[], Any]) -> Any:

    deadline = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return value


def test_it_is_ready_when_systemd_says_so_and_measures(service: Machine) -> None:
    """Type=notify: once started, everything is attached and the page is served."""
    assert service.show("ActiveState") == "active"
    assert service.show("StatusText").startswith("measures ")
    assert '"ok": true' in page(service, "readyz")
    # Someone else's program, in a group of its own, seen through the hardening with name and unit.
    assert service.systemctl("start", "known.service") == 0
    line = re.compile(r'^sonde_syscall_count_total\{.*sonde_systemd_unit="known.service"', re.MULTILINE)
    until(lambda: line.search(page(service, "metrics")))


def test_both_processes_are_a_user_with_nothing_but_what_the_loader_needs(service: Machine) -> None:
    agent, loader = (service.status(pid) for pid in service.pids())
    for each in (agent, loader):
        assert each["Uid"].split()[0] != "0"
        assert (each["NoNewPrivs"], each["Seccomp"], each["CapAmb"]) == ("1", "2", NOTHING)
    assert (agent["CapEff"], agent["CapPrm"]) == (NOTHING, NOTHING)
    # CAP_SYS_PTRACE is 19, CAP_PERFMON 38, CAP_BPF 39; the first counts only while a name is looked up.
    assert int(loader["CapPrm"], 16) == 1 << 19 | 1 << 38 | 1 << 39
    assert int(loader["CapEff"], 16) == 1 << 38 | 1 << 39


def test_a_reload_keeps_the_processes(service: Machine) -> None:
    before = service.pids()
    service.write("/etc/sonde/sonde.toml", CONFIGURATION + '[prometheus]\nlisten = "127.0.0.1:9465"')
    try:
        assert service.systemctl("reload", "sonde.service") == 0
        until(lambda: '"ok": true' in page(service, "readyz", 9465))
        assert service.pids() == before
    finally:
        service.write("/etc/sonde/sonde.toml", CONFIGURATION)


def test_it_stops_by_itself_with_its_summary(service: Machine) -> None:
    assert service.systemctl("stop", "sonde.service") == 0
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")
    assert "measured " in service.said()


def test_a_wrong_configuration_is_not_tried_again(machine: Machine) -> None:
    machine.write("/etc/sonde/sonde.toml", "intervall = 1")
    try:
        assert machine.systemctl("start", "sonde.service") != 0
        assert (machine.show("ExecMainStatus"), machine.show("NRestarts")) == ("2", "0")
        assert "sonde.toml:1: intervall: there is no such key: did you mean interval?" in machine.said()
    finally:
        machine.write("/etc/sonde/sonde.toml", CONFIGURATION)
        machine.systemctl("reset-failed", "sonde.service")


def test_with_its_drop_in_it_is_on_interfaces(machine: Machine) -> None:
    """CAP_NET_ADMIN and rtnetlink, and nothing else more: the loader attaches, the agent has nothing."""
    machine.write("/etc/sonde/sonde.toml", CONFIGURATION + '[probes.packets]\ninterfaces = ["lo"]\n')
    try:
        assert machine.systemctl("start", "sonde.service") != 0
        assert "allow AF_NETLINK, as packaging/systemd/interfaces.conf does" in machine.said()
        assert (machine.show("ExecMainStatus"), machine.show("NRestarts")) == ("2", "0")
        machine.write("/run/units/sonde.service.d/interfaces.conf", DROP_IN.read_text())
        assert machine.systemctl("daemon-reload") == 0
        assert machine.systemctl("start", "sonde.service") == 0, machine.said()
        assert "packets.protocols: lo: in by xdp generic, out by tc" in machine.said()
        # The scrape itself passes the loopback.
        line = re.compile(r'^system_network_packet_count_total\{.*network_interface_name="lo"', re.MULTILINE)
        until(lambda: line.search(page(machine, "metrics")))
        agent, loader = (machine.status(pid) for pid in machine.pids())
        assert (agent["CapEff"], agent["CapPrm"]) == (NOTHING, NOTHING)
        assert int(loader["CapEff"], 16) == 1 << 12 | 1 << 38 | 1 << 39
    finally:
        machine.systemctl("stop", "sonde.service")
        machine.write("/run/units/sonde.service.d/interfaces.conf", "")
        machine.write("/etc/sonde/sonde.toml", CONFIGURATION)
        machine.systemctl("daemon-reload")
        machine.systemctl("reset-failed", "sonde.service")
