"""The headers of one of Debian's kernels, fetched once, unpacked and cached: for tools that compile against them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from vm.archive import Suite
from vm.host import alone, cache
from vm.kernel import Kernel, suite_of


def find(kernel: Kernel) -> Path:
    """The folder in which the packages of a kernel's headers are unpacked: `usr/src` and `usr/lib` are below it.

    Raises HostError: no network, no Debian archive.
    """
    folder = cache() / "headers" / kernel.version
    with alone(cache() / f"{kernel.version}.lock"):
        if not (folder / "release").exists() or (folder / "release").read_text() != kernel.release:
            fetch(kernel, folder)
    return folder


def places(kernel: Kernel) -> dict[str, Path]:
    """What a system with these headers has at which path; links to the unpacked folders do, for these point to each other."""
    sources = find(kernel) / "usr" / "src"
    own = sources / f"linux-headers-{kernel.release}"
    found = {f"/usr/src/{path.name}": path for path in sources.glob("linux-headers-*")}
    common = next(path for path in found.values() if path != own)
    modules = f"/lib/modules/{kernel.release}"
    return found | {f"{modules}/build": own, f"{modules}/source": common}


def fetch(kernel: Kernel, folder: Path) -> None:
    """Download and unpack them beside their folder, then put it in place: the folder is there wholly or not at all."""
    suite = Suite(suite_of(kernel.version), state=cache() / "apt")
    suite.update()
    package = f"linux-headers-{kernel.release}"
    needed = [name for name in suite.depends(package) if name.startswith(("linux-headers-", "linux-kbuild-"))]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as scratch:
        new = Path(scratch, "new")
        for deb in suite.download([package, *needed], into=Path(scratch, "debs")):
            subprocess.run(["dpkg-deb", "-x", deb, new], check=True)
        (new / "release").write_text(kernel.release)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
