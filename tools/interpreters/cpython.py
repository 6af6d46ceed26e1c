"""CPython with frame pointers, which ``-X perf`` needs to be of use: ``python -m interpreters.cpython`` prints where.

Debian builds it without, and so does nearly everybody. Upstream's archive comes from Debian's source package and is
pinned by its hash; Debian's patches are about paths and tests, which do not matter here. Only the interpreter is made,
with the modules that are built into it, in a minute on two cores, and kept under ~/.cache/sonde.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sonde_build.compilers import BuildError, Compiler, host_compiler, run
from sonde_build.debian import Apt
from sonde_build.libbpf import cache_folder, digest_of_file
from sonde_build.stamps import digest_of

PACKAGE, VERSION, RELEASE = "python3.13", "3.13.5", "trixie"
SHA256 = "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640"
CFLAGS = "-fno-omit-frame-pointer -mno-omit-leaf-frame-pointer"
# -O1 halves the time of compiling; there is no -g, and nothing is measured but who runs.
CONFIGURE = ("--with-ensurepip=no", "--disable-test-modules", "--without-doc-strings", "OPT=-DNDEBUG -O1")
NOT_COPIED = ("__pycache__", "test", "idlelib", "tkinter", "turtledemo", "ensurepip", "pydoc_data")


@dataclass(frozen=True)
class Cpython:
    """An interpreter that was not installed: its program, and the folder with its library."""

    program: Path
    home: Path

    @property
    def environment(self) -> tuple[str, ...]:
        """What comes before its command; with ``-S`` it runs what needs no modules but those in Python or built in."""
        return ("env", f"PYTHONHOME={self.home}", f"PYTHONPATH={self.home / 'Lib'}")


def provide() -> Cpython:
    """Give it: from the cache, or fetched and built (a minute). Raises BuildError where that cannot be done."""
    compiler = host_compiler()
    home = _home(compiler)
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        # Tests of several runs may want it at one time.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            _build(_source(), compiler, home)
    return Cpython(home / "python", home)


def is_cached() -> bool:
    """Whether it is there without a build."""
    return _home(host_compiler()).exists()


def _home(compiler: Compiler) -> Path:
    identity = digest_of(SHA256, CFLAGS, *CONFIGURE, compiler.identity, *compiler.flags)[:16]
    # The name has no suffix of its own, so that the lock's can be put there.
    return cache_folder() / "interpreters" / f"cpython-{VERSION.replace('.', '-')}-{identity}"


def _source() -> Path:
    archive = cache_folder() / "sources" / f"{PACKAGE}_{VERSION}.orig.tar.xz"
    if not archive.exists():
        Apt(archive.parent, release=RELEASE).source(PACKAGE)
    if not archive.exists():
        raise BuildError(
            f"Debian {RELEASE} has another {PACKAGE} than {VERSION} now: pin that one in {__file__}"
        )
    found = digest_of_file(archive)
    if found != SHA256:
        raise BuildError(f"{archive}: its SHA-256 is {found}, not {SHA256}: remove it and build again")
    return archive


def _build(archive: Path, compiler: Compiler, home: Path) -> None:
    """Build in a folder of its own and move the result into place, whole."""
    print(f"building CPython {VERSION} with frame pointers (once)", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as name:
        work = Path(name)
        with tarfile.open(archive) as tar:
            # Python before 3.11.4 has no filters; the archive is verified anyway.
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            tar.extractall(work)
        source = work / f"Python-{VERSION}"
        environment = {
            **os.environ,
            "CC": " ".join([*compiler.command, *compiler.flags]),
            "CFLAGS": CFLAGS,
        }
        run(["nice", "./configure", "-q", *CONFIGURE], cwd=source, env=environment)
        run(["nice", "make", "-s", f"-j{os.cpu_count() or 1}", "python"], cwd=source)
        whole = work / "whole"
        shutil.copytree(source / "Lib", whole / "Lib", ignore=shutil.ignore_patterns(*NOT_COPIED))
        shutil.copy2(source / "python", whole / "python")
        whole.rename(home)


def main() -> int:
    """Build it and print its program."""
    begun = time.monotonic()
    try:
        print(provide().program)
    except BuildError as error:
        print(f"no CPython with frame pointers: {error}", file=sys.stderr)
        return 1
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
