"""``pprof`` as Go ships it, of Debian's package: one program of 10 MB, without the 300 MB around it."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path

from sonde_build.compilers import BuildError
from sonde_build.debian import Apt
from sonde_build.libbpf import cache_folder

PACKAGE, RELEASE = "golang-1.19-go", "bookworm"
"""The newest Go of which Debian's package has the program compiled."""


def fetched() -> Path:
    """Give the program, fetched at the first time; raises BuildError where it cannot be had."""
    home = cache_folder() / "readers"
    program = home / f"pprof-{PACKAGE}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"{program.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _unpack(home, program)
    return program


def _unpack(home: Path, program: Path) -> None:
    print(f"fetching pprof of {PACKAGE}, Debian {RELEASE} (once)", flush=True)
    with tempfile.TemporaryDirectory(dir=home) as name:
        work = Path(name)
        Apt(work / "apt", release=RELEASE).unpack(PACKAGE, work / "files")
        found = sorted((work / "files").glob("usr/lib/go-*/pkg/tool/linux_*/pprof"))
        if not found:
            raise BuildError(f"{PACKAGE} has no pprof")
        # Last, and at once: what is there is whole.
        found[0].rename(program)
