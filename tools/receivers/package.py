"""The programs of a Debian package, of any release, without installing it."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path

from sonde_build.debian import Apt
from sonde_build.libbpf import cache_folder


def programs(package: str, *, release: str) -> Path:
    """Give the folder with a package's programs; downloaded once (half a minute), then from the cache.

    Only what needs no other package will run. Raises BuildError where the package cannot be had.
    """
    home = cache_folder() / "receivers" / f"{package}-{release}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        # Tests of several runs may want it at one time.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            _unpack(package, release, home)
    return home / "usr/bin"


def _unpack(package: str, release: str, home: Path) -> None:
    print(f"fetching {package} of Debian {release} (once)", flush=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as name:
        work = Path(name)
        Apt(work / "apt", release=release).unpack(package, work / "files")
        (work / "files").rename(home)
