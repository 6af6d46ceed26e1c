"""Debian's archive, read without touching this machine's apt: own sources list, own indexes, own cache.

The mirror and the keys are those of the machine's own apt, so that no host is named here and a local mirror or a proxy
is used as everywhere else.  Nothing is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from vm.errors import HostError

KEYRINGS = ("debian-archive-keyring.pgp", "debian-archive-keyring.gpg")


def mirror(*, security: bool) -> str:
    """The address of Debian's archive, or of its security archive, that this machine's apt uses.

    SONDE_VM_MIRROR and SONDE_VM_SECURITY_MIRROR come first, for machines that are not Debian.  Raises HostError.
    """
    variable = "SONDE_VM_SECURITY_MIRROR" if security else "SONDE_VM_MIRROR"
    if given := os.environ.get(variable):
        return given
    if shutil.which("apt-get") is None:
        raise HostError("no apt-get: kernels come as Debian packages: run this on Debian or Ubuntu")
    wanted = ("--format", "$(ORIGIN)|$(RELEASE)|$(REPO_URI)", "Created-By: Packages")
    listed = subprocess.run(["apt-get", "indextargets", *wanted], capture_output=True, text=True)
    for line in listed.stdout.splitlines():
        origin, release, uri = line.split("|", 2)
        if origin == "Debian" and release.endswith("-security") == security:
            return uri
    kind = "security archive" if security else "archive"
    raise HostError(f"no Debian {kind}: this machine's apt lists none: run apt-get update, or set {variable}")


class Suite:
    """One suite of Debian, such as `trixie-security`: its package index and its packages.

    The state lives below `state` and may be deleted at any time; nobody needs to close it.
    """

    def __init__(self, name: str, *, state: Path) -> None:
        self.name = name
        self._state = (state / name).resolve()

    def update(self) -> None:
        """Fetch the package index; apt checks its signature.  Raises HostError."""
        for folder in ("lists/partial", "archives/partial"):
            (self._state / folder).mkdir(parents=True, exist_ok=True)
        uri = mirror(security=self.name.endswith("-security"))
        keys = [path for name in KEYRINGS if (path := Path("/usr/share/keyrings", name)).exists()]
        signed = f" signed-by={keys[0]}" if keys else ""
        source = f"deb [arch=amd64{signed}] {uri} {self.name} main\n"
        (self._state / "sources.list").write_text(source)
        self._apt("apt-get", "update", "--error-on=any")

    def depends(self, package: str) -> list[str]:
        """The names of the packages that one depends on, the first of each alternative."""
        lines = self._apt("apt-cache", "depends", "--important", package).splitlines()
        return [line.split("Depends:")[1].strip() for line in lines if line.startswith("  Depends:")]

    def download(self, packages: list[str], *, into: Path) -> list[Path]:
        """Fetch packages into a folder; apt checks their digests against the signed index.  Raises HostError."""
        into.mkdir(parents=True, exist_ok=True)
        self._apt("apt-get", "download", *packages, cwd=into)
        return sorted(into.glob("*.deb"))

    def _apt(self, program: str, *arguments: str, cwd: Path | None = None) -> str:
        state = self._state
        options = {
            "Dir::Etc::SourceList": state / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": state / "lists",
            "Dir::State::Status": "/dev/null",
            "Dir::Cache": state,
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            "APT::Sandbox::User": "root",  # the cache may lie below a home directory that _apt cannot enter
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        command = [program, "-q", *(f"-o{name}={value}" for name, value in options.items()), *arguments]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            what = f"{program} {' '.join(arguments)} (Debian {self.name})"
            raise HostError(f"{what} failed: {last}: check the network and the mirror")
        return done.stdout
