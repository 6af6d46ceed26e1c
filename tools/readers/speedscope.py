"""speedscope, the page that shows profiles of many origins, as its author publishes it to npm."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path

from npm_package import NpmPackage
from sonde_build.libbpf import cache_folder

PACKAGE = NpmPackage(
    "speedscope",
    "1.25.0",
    "sha512-cpf9HWTZf1ijLXBJrk87Ve/54tnYx6rlf0gUThvn3ook6h63hLXVOQiMf44PT+XoV503cPfvfiT5gP5vojp6Ag==",
)


def fetched() -> Path:
    """Give the folder with its ``index.html`` and ``file-format-schema.json``; raises BuildError where it cannot be had."""
    home = cache_folder() / "readers" / f"speedscope-{PACKAGE.version}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            print(f"fetching speedscope {PACKAGE.version} (once)", flush=True)
            with tempfile.TemporaryDirectory(dir=home.parent) as name:
                for path, data in PACKAGE.files().items():
                    file = Path(name) / "files" / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(data)
                (Path(name) / "files").rename(home)
    return home / "dist/release"
