"""Which QEMU runs the guests: a newer one of Debian's backports, unpacked and cached, or the machine's own.

QEMU 10 starts a program in the guest in half the time that the 7.2 of Debian 12 takes, for what it has translated once
serves at every address.  It is unpacked, not installed, and uses the libraries that the machine's own brought along.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from vm.archive import Suite
from vm.errors import HostError
from vm.host import alone, cache

PROGRAM = "qemu-system-x86_64"
PACKAGES = ["qemu-system-x86", "qemu-system-data"]

# A machine's own QEMU is taken from this version on.
MAJOR_MIN = 10

# What a guest without graphics, network card and disk starts with; the BIOS is the machine's.
FIRMWARE = ("kvmvapic.bin", "linuxboot_dma.bin", "pvh.bin")
BIOS = Path("/usr/share/seabios")

# A machine without a network is not kept waiting by each guest: a fetch that failed is tried again after this.
RETRY_AFTER_S = 3600


@dataclass(frozen=True)
class Emulator:
    """A QEMU that can be started: its program and the arguments that it needs before all others."""

    words: tuple[str, ...]

    def major(self) -> int:
        """The first number of its version.  Raises HostError where it does not start."""
        done = subprocess.run([*self.words, "--version"], capture_output=True, text=True)
        found = re.search(r"version (\d+)\.", done.stdout)
        if done.returncode != 0 or found is None:
            last = (done.stderr.strip().splitlines() or ["no version"])[-1]
            raise HostError(f"{self.words[0]} does not start: {last}: apt-get install qemu-system-x86")
        return int(found[1])


INSTALLED = Emulator((PROGRAM,))


def find() -> Emulator:
    """The machine's QEMU where it is new enough, else that of the backports; says so where it cannot be had.

    Needs what host.ensure_programs installs.  Raises HostError where the machine's own does not start.
    """
    if INSTALLED.major() >= MAJOR_MIN:
        return INSTALLED
    try:
        return backported()
    except (HostError, OSError, subprocess.CalledProcessError) as error:
        print(f"sonde-vm: the machine's own QEMU is used, which is slower: {error}", file=sys.stderr)
        return INSTALLED


def backported() -> Emulator:
    """The cached QEMU of the release's backports, fetched when it is not there.  Raises HostError."""
    release = platform.freedesktop_os_release()
    if release.get("ID") != "debian" or "VERSION_CODENAME" not in release:
        raise HostError("no backports: this machine is not a release of Debian")
    folder = cache() / "qemu" / release["VERSION_CODENAME"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    failed = folder.with_suffix(".failed")
    with alone(cache() / "qemu.lock"):
        if not (folder / "packages").exists():
            if failed.exists() and time.time() - failed.stat().st_mtime < RETRY_AFTER_S:
                raise HostError(failed.read_text())
            try:
                fetch(f"{release['VERSION_CODENAME']}-backports", folder)
            except HostError as error:
                failed.write_text(str(error))
                raise
    return in_folder(folder)


def in_folder(folder: Path) -> Emulator:
    """The QEMU that lies in a folder, with its firmware."""
    return Emulator((str(folder / PROGRAM), "-L", str(folder), "-L", str(BIOS)))


def fetch(suite_name: str, folder: Path) -> None:
    """Download and unpack it beside its folder, try it, then put it in place: it is there wholly or not at all."""
    suite = Suite(suite_name, state=cache() / "apt")
    suite.update()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as scratch:
        debs = suite.download(PACKAGES, into=Path(scratch, "debs"))
        tree, new = Path(scratch, "tree"), Path(scratch, "new")
        for deb in debs:
            subprocess.run(["dpkg-deb", "-x", deb, tree], check=True)
        new.mkdir()
        for path in (tree / "usr/bin" / PROGRAM, *(tree / "usr/share/qemu" / name for name in FIRMWARE)):
            if not path.exists():
                raise HostError(f"no {path.name} in Debian {suite_name}: its packages changed")
            shutil.copy(path, new)
        if in_folder(new).major() < MAJOR_MIN:
            raise HostError(f"Debian {suite_name} has no newer QEMU")
        (new / "packages").write_text("".join(f"{deb.name}\n" for deb in debs))
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
