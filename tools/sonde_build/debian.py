"""Fetch packages of any Debian release, without touching the machine's own apt.

apt runs with a list of sources, a state and a cache of its own, as any user.  The mirror is the one that the
machine already uses, and apt checks the archive's signature, so no host and no key is named here.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from sonde_build.compilers import BuildError, run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SIGNED = f" [signed-by={KEYRING}]" if KEYRING.exists() else ""


class Apt:
    """apt for one release of Debian; what it downloads lies in the folder."""

    def __init__(self, folder: Path, *, release: str) -> None:
        self.folder = folder
        self.release = release

    def source(self, package: str) -> None:
        """Download a source package into the folder, unpacked by nobody."""
        self._download("deb-src", "source", "--download-only", package)

    def binary(self, *packages: str) -> None:
        """Download binary packages for this machine's architecture into the folder."""
        self._download("deb", "download", *packages)

    def unpack(self, package: str, into: Path) -> None:
        """Download a binary package and put its files below a folder; raises BuildError where it cannot be had."""
        self.binary(package)
        found = sorted(self.folder.glob(f"{package}_*.deb"))
        if not found:
            raise BuildError(f"apt gave no {package} of Debian {self.release}")
        # Not tar's: dpkg-deb knows the package's compression, and checks its format.
        run(["dpkg-deb", "--extract", str(found[-1]), str(into)])

    def _download(self, kind: str, *arguments: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        failures = []
        for mirror in _mirrors():
            # The lists are large and of no use afterwards.
            with tempfile.TemporaryDirectory(dir=self.folder) as state:
                apt = ["apt-get", *self._state(Path(state), f"{kind}{SIGNED} {mirror} {self.release} main\n")]
                try:
                    run([*apt, "update", "--error-on=any"])
                    run([*apt, *arguments], cwd=self.folder)
                except BuildError as error:
                    failures.append(str(error))
                    continue
            return
        raise BuildError(
            "\n".join([f"apt has no mirror that gives Debian {self.release}'s packages", *failures])
        )

    def _state(self, folder: Path, source: str) -> list[str]:
        """The options that keep this apt apart."""
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "sources.list").write_text(source)
        (folder / "status").touch()
        options = {
            "Dir::Etc::SourceList": folder / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::Etc::Preferences": "-",
            "Dir::Etc::PreferencesParts": "-",
            "Dir::State": folder,
            "Dir::State::Status": folder / "status",
            "Dir::Cache": folder,
            # The folder may lie in a home that the user _apt cannot enter.
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        return [text for name, value in options.items() for text in ("-o", f"{name}={value}")]


def _mirrors() -> list[str]:
    """The archives that this machine's apt reads, those that look like a whole Debian first."""
    if shutil.which("apt-get") is None:
        return []
    listed = run(["apt-get", "update", "--print-uris"])
    releases: dict[str, set[str]] = {}
    for mirror, release in re.findall(r"^'([^']+)/dists/([^/']+)/InRelease'", listed, re.MULTILINE):
        releases.setdefault(mirror, set()).add(release)
    # Only the distribution's main archive has both bookworm and bookworm-updates.
    whole = [
        mirror for mirror, names in releases.items() if any(f"{name}-updates" in names for name in names)
    ]
    return whole + [mirror for mirror in releases if mirror not in whole]
