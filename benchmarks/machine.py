"""Which machine figures are of, and which versions of the tools."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
from pathlib import Path

from benchmarks import built

VERSIONS = {
    "bpftrace": ("bpftrace", "--version"),
    "libbpf-tools": ("dpkg-query", "-W", "-f", "${Version}", "libbpf-tools"),
    "BCC": ("dpkg-query", "-W", "-f", "${Version}", "python3-bpfcc"),
    "perf": ("perf", "--version"),
    "strace": ("strace", "--version"),
    "SystemTap": ("dpkg-query", "-W", "-f", "${Version}", "systemtap"),
    "nginx": ("dpkg-query", "-W", "-f", "${Version}", "nginx-common"),
}
VERSION = re.compile(r"\d+(?:\.\d+)+[\w.+~-]*")


def describe() -> dict[str, str]:
    """Say what the machine is; tools that are not there are left out, for their rows say so."""
    from importlib.metadata import version

    told = {"has": _processor(), "Linux": plain(platform.release()), "Python": platform.python_version()}
    told["sonde"] = version("sonde")
    for name, command in VERSIONS.items():
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            if found := VERSION.search(said):
                told[name] = found[0]
    return told


def plain(text: str) -> str:
    """Take out of a tool's words what is of this machine alone: where this lies, and how its kernel calls itself."""
    release = platform.release()
    return (
        text.replace(release, release.partition("-")[0])
        .replace(str(built.ROOT), ".")
        .replace(str(Path.home()), "~")
    )


def _processor() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    guest = "a virtual machine's " if "hypervisor" in Path("/proc/cpuinfo").read_text() else ""
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return (
        f"{os.cpu_count()} of {guest}CPUs ({model[1] if model else platform.machine()}), {memory_gb:.0f} GB"
    )
