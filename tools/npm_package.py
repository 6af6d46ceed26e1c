"""Files of packages of the npm registry, fetched by npm and checked by their pinned integrity; nothing of them is run."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sonde_build.compilers import BuildError, run


@dataclass(frozen=True)
class NpmPackage:
    """A package of one version; ``integrity`` is the SHA-512 of its archive, as npm's lock files write it."""

    name: str
    version: str
    integrity: str

    def archive(self) -> bytes:
        """Fetch the archive; raises BuildError where it cannot be had, or is another."""
        if shutil.which("npm") is None:
            raise BuildError(f"npm is not installed, which fetches {self.name} {self.version}")
        with tempfile.TemporaryDirectory() as folder:
            run(["npm", "pack", "--silent", f"{self.name}@{self.version}"], cwd=Path(folder))
            (found,) = Path(folder).glob("*.tgz")
            data = found.read_bytes()
        digest = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
        if digest != self.integrity:
            raise BuildError(f"{self.name} {self.version} has the integrity {digest}, not {self.integrity}")
        return data

    def files(self) -> dict[str, bytes]:
        """Give its files by path, without the folder ``package/``."""
        found = {}
        with tarfile.open(fileobj=io.BytesIO(self.archive())) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None:
                    found[member.name.partition("/")[2]] = file.read()
        return found
