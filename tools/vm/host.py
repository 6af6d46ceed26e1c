"""What this machine must have: programs and a place for kernels.  All else comes with Python."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vm.errors import HostError

# The program looked for, the Debian package that brings it.  zstd unpacks the kernels of 6.12 and later.
PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "zstd": "zstd"}
INSTALL = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "install", "-y", "--no-install-recommends"]


def cache() -> Path:
    """The folder that keeps kernels between runs: ${XDG_CACHE_HOME:-~/.cache}/sonde/vm."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "sonde" / "vm"


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time, by a lock file that stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def busybox() -> Path:
    """A busybox that runs without any library, for it is the first program of the guest.

    Raises HostError where there is none, or only a dynamic one.
    """
    found = shutil.which("busybox")
    if found is None or b"/ld-linux" in Path(found).read_bytes():
        raise HostError("no static busybox: the guest starts with it: apt-get install busybox-static")
    return Path(found)


def ensure_programs() -> None:
    """Install by apt what is missing; nothing happens where all is there.

    Raises HostError, naming the one command to run, where this process may not install.
    """
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if not missing:
        return
    wanted = " ".join(missing)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise HostError(f"{wanted} missing: installing needs root and apt: sudo apt-get install {wanted}")
    done = subprocess.run([*INSTALL, *missing], capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise HostError(f"{wanted} not installed: apt-get says {last!r}: run apt-get update, then this again")
