"""libbpf as a static, position-independent library, built from Debian's source package and cached.

Debian 12's own libbpf is 1.1.2, too old, and no distribution's libbpf.a can go into a shared object.  The archive
is pinned by its hash; Debian's patches (one, for a buffer overflow on corrupt objects) come with the same signed
source package.  $SONDE_LIBBPF=pkg-config takes the machine's libbpf instead.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sonde_build.compilers import BuildError, Compiler, run
from sonde_build.debian import Apt
from sonde_build.stamps import digest_of

VERSION = "1.5.0"
RELEASE = "trixie"
SHA256 = "53492aff6dd47e4da04ef5e672d753b9743848bdb38e9d90eafbe190b7983c44"
CFLAGS = "-O2 -fPIC -fvisibility=hidden"
HINT = (
    f"sonde needs libbpf {VERSION} or newer as a static, position-independent library: install one that pkg-config "
    "finds and set SONDE_LIBBPF=pkg-config, or put Debian's libbpf_{version}.orig.tar.gz and libbpf_{version}-*"
    ".debian.tar.xz into {folder}"
)


@dataclass(frozen=True)
class Libbpf:
    """Where the headers are, the library, and a text that changes when they do."""

    include: Path
    archive: Path
    identity: str


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/sonde or ~/.cache/sonde."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sonde"


def provide(compiler: Compiler) -> Libbpf:
    """libbpf for this compiler: from the cache, or fetched and built (half a minute)."""
    if os.environ.get("SONDE_LIBBPF") == "pkg-config":
        return _from_pkg_config()
    original, patches = _sources()
    identity = digest_of(SHA256, patches, CFLAGS, compiler.identity, *compiler.flags)[:16]
    home = cache_folder() / f"libbpf-{VERSION}-{identity}"
    if not home.exists():
        _build(original, patches, compiler, home)
    return Libbpf(home / "include", home / "lib" / "libbpf.a", identity)


def _from_pkg_config() -> Libbpf:
    try:
        run(["pkg-config", f"--atleast-version={VERSION}", "libbpf"])
    except (BuildError, FileNotFoundError):
        raise BuildError(
            f"pkg-config finds no libbpf {VERSION} or newer: install it, or unset SONDE_LIBBPF"
        ) from None
    version, include, libraries = (
        run(["pkg-config", *option, "libbpf"]).strip()
        for option in (["--modversion"], ["--variable=includedir"], ["--variable=libdir"])
    )
    archive = Path(libraries) / "libbpf.a"
    if not archive.exists():
        raise BuildError(f"{archive} is missing: install the static library of libbpf")
    return Libbpf(Path(include), archive, f"{version} {archive} {archive.stat().st_mtime_ns}")


def _sources() -> tuple[Path, Path]:
    """The two archives of the source package: upstream's, and Debian's patches."""
    folder = cache_folder() / "sources"
    original = folder / f"libbpf_{VERSION}.orig.tar.gz"
    if not original.exists() or not _patches(folder):
        try:
            Apt(folder, release=RELEASE).source("libbpf")
        except BuildError as error:
            raise BuildError(f"{HINT.format(version=VERSION, folder=folder)}\n{error}") from None
    found = digest_of_file(original)
    if found != SHA256:
        raise BuildError(f"{original}: its SHA-256 is {found}, not {SHA256}: remove it and build again")
    return original, _patches(folder)[-1]


def _patches(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"libbpf_{VERSION}-*.debian.tar.xz"))


def digest_of_file(path: Path) -> str:
    """The file's SHA-256, as sha256sum prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _build(original: Path, patches: Path, compiler: Compiler, home: Path) -> None:
    """Build in a folder of its own and move the result into place, so that two builds cannot mix."""
    print(f"building libbpf {VERSION} (once)", flush=True)
    with tempfile.TemporaryDirectory(dir=cache_folder()) as name:
        work = Path(name)
        for archive in (original, patches):
            with tarfile.open(archive) as tar:
                # Python before 3.11.4 has no filters; both archives are verified anyway.
                tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
                tar.extractall(work)
        source = work / f"libbpf-{VERSION}"
        for line in (work / "debian/patches/series").read_text().split():
            run(["patch", "-p1", "-s", "-i", str(work / "debian/patches" / line)], cwd=source)
        make = ["make", "-s", "-C", str(source / "src"), "BUILD_STATIC_ONLY=1", "NO_PKG_CONFIG=1"]
        make += [
            f"CC={' '.join([*compiler.command, *compiler.flags])}",
            f"CFLAGS={CFLAGS}",
            f"OBJDIR={work / 'obj'}",
        ]
        make += [f"DESTDIR={work / 'out'}", "PREFIX=", "LIBDIR=/lib", "install", "install_uapi_headers"]
        run(make)
        try:
            (work / "out").rename(home)
        except OSError:
            # Another build was faster; its result is the same.
            if not home.exists():
                raise
