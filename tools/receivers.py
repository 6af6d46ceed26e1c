"""Fetch a receiver that the tests send to, unpacked and not installed: ``receivers.py victoria-metrics`` prints its path.

Debian packages it in sid; its programs need no libraries of that release. It is fetched once, into
${XDG_CACHE_HOME:-~/.cache}/sonde/receivers.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from sonde_build.compilers import BuildError
from sonde_build.debian import Apt

RELEASE = "sid"
PROGRAMS = {"victoria-metrics": "usr/bin/victoria-metrics"}


def cache() -> Path:
    """The folder that keeps them."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "sonde" / "receivers"


def fetch(package: str) -> Path:
    """Give the program of a package, fetched if it is not there; raises BuildError or OSError."""
    folder = cache() / package
    program = folder / PROGRAMS[package]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if program.exists():
            return program
        Apt(folder, release=RELEASE).binary(package)
        (archive,) = folder.glob("*.deb")
        unpacked = folder / "unpacked"
        subprocess.run(["dpkg-deb", "--extract", archive, unpacked], check=True, capture_output=True)
        program.parent.mkdir(parents=True, exist_ok=True)
        # Last, and at once: what is there is whole.
        (unpacked / PROGRAMS[package]).rename(program)
        subprocess.run(["rm", "-r", unpacked, archive], check=True)
    return program


def main() -> int:
    """Run from the command line."""
    if len(sys.argv) != 2 or sys.argv[1] not in PROGRAMS:
        print(f"usage: receivers.py {'|'.join(PROGRAMS)}", file=sys.stderr)
        return 2
    try:
        print(fetch(sys.argv[1]))
    except (BuildError, OSError, subprocess.CalledProcessError) as error:
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        print(f"Debian {RELEASE}'s package {sys.argv[1]} cannot be fetched: {last}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
