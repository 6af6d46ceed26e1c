"""A systemd of its own that runs sonde's unit: in namespaces, on an overlay of this machine's files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kernel.compiled import ROOT
from kernel.sonde_process import PATIENCE_S

BOOT = Path(__file__).parent / "boot.sh"
PACKAGING = ROOT / "packaging" / "systemd"
TARGETS = (
    "sysinit",
    "basic",
    "shutdown",
    "umount",
    "network-online",
    "network",
    "multi-user",
    "exit",
    "final",
)
DROP_IN = """[Service]
# The package is not installed, and its byte-code is where it is.
Environment=PYTHONPATH=/opt/source:/opt/packages PYTHONDONTWRITEBYTECODE=1
StandardOutput=append:/var/log/said
StandardError=append:/var/log/said
"""
KNOWN = """[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh -c 'while :; do cat /dev/null; sleep 0.2; done'
"""
"""Another service, whose processes do something."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The namespaces of a systemd; ``run`` is a command in them."""

    init: int

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside it, as root, and wait for its end."""
        enter = ["nsenter", "-t", str(self.init), "-m", "-p", "-n", "-u", "-i", "-C", "--root", "--wd"]
        return subprocess.run(
            [*enter, *words], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )

    def systemctl(self, *words: str) -> int:
        """Ask it something; gives the exit status."""
        return self.run("systemctl", *words).returncode

    def show(self, name: str) -> str:
        """Give a property of sonde's unit."""
        return self.run("systemctl", "show", "--value", "-p", name, "sonde.service").stdout.strip()

    def said(self) -> str:
        """Give what the service has written."""
        return self.run("cat", "/var/log/said").stdout

    def status(self, pid: str) -> dict[str, str]:
        """Give a process's /proc/PID/status."""
        lines = self.run("cat", f"/proc/{pid}/status").stdout.splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def pids(self) -> list[str]:
        """Give the service's processes as this machine numbers them, the main one first."""
        group = self.show("ControlGroup")
        listed = self.run("cat", f"/sys/fs/cgroup{group}/cgroup.procs").stdout.split()
        return sorted(listed, key=lambda pid: pid != self.show("MainPID"))

    def write(self, path: str, text: str) -> None:
        """Write a file of the machine's own."""
        self.run("sh", "-c", f"cat >{path} <<'END'\n{text}\nEND")


@contextmanager
def booted(folder: Path, cgroup2: str, configuration: str) -> Iterator[Machine]:
    """Boot it, and end it with all that it has started."""
    units, mounts = folder / "units", folder / "mounts"
    _write_units(units, configuration)
    mounts.mkdir()
    # Another name than what a run that was killed has left, whose number this process may have.
    group = Path(tempfile.mkdtemp(prefix="sonde-test-", dir=cgroup2))
    group.chmod(0o755)
    environment = {
        **os.environ,
        "FOLDER": str(mounts),
        "UNITS": str(units),
        "SOURCE": str(ROOT / "src"),
        "PACKAGES": sysconfig.get_path("purelib"),
        "PYTHON_BASE": sys.base_prefix,
        "PYTHON_NAME": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "CGROUP2": cgroup2,
        "CGROUP_NAME": group.name,
    }
    unshare = ["unshare", "-m", "-p", "-f", "-n", "-u", "-i", "--kill-child", str(BOOT)]
    with (folder / "console").open("wb") as console:
        started = subprocess.Popen(unshare, stdout=console, stderr=console, env=environment)
    try:
        machine = Machine(_init_of(started, folder / "console"))
        _until_it_answers(machine, started, folder / "console")
        yield machine
    finally:
        # The first process of a pid namespace takes all others with it.
        for child in _children_of(started.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        started.wait(PATIENCE_S)
        _remove(group)


def _write_units(units: Path, configuration: str) -> None:
    units.mkdir()
    for target in TARGETS:
        (units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    shutil.copy(PACKAGING / "sonde.service", units)
    shutil.copy(PACKAGING / "sonde.sysusers.conf", units)
    (units / "known.service").write_text(KNOWN)
    (units / "sonde.service.d").mkdir()
    (units / "sonde.service.d" / "test.conf").write_text(DROP_IN)
    (units / "sonde.toml").write_text(configuration)


def _children_of(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _init_of(started: subprocess.Popen[bytes], console: Path) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and started.poll() is None:
        for child in _children_of(started.pid):
            with suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return child
        time.sleep(0.05)
    raise AssertionError(f"systemd did not start:\n{console.read_text(errors='replace')}")


def _until_it_answers(machine: Machine, started: subprocess.Popen[bytes], console: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while machine.run("systemctl", "is-system-running").stdout.strip() not in ("running", "degraded"):
        assert time.monotonic() < deadline, console.read_text(errors="replace")
        assert started.poll() is None, console.read_text(errors="replace")
        time.sleep(0.1)


def _remove(group: Path) -> None:
    """Remove a cgroup and those that systemd has made in it, which are empty once its processes are gone."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            for path, _, _ in os.walk(group, topdown=False):
                os.rmdir(path)
        except OSError:
            assert time.monotonic() < deadline, f"{group} has members still"
            time.sleep(0.1)
        else:
            return
