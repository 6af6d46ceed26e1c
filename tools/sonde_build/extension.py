"""Everything that setup.py needs done before setuptools compiles the extension."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sonde_build import digests, libbpf
from sonde_build.compilers import Compiler, host_compiler, portable_compiler
from sonde_build.objects import ObjectBuilder, build_all
from sonde_build.stamps import Stamp, digest_of, write_if_changed

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "sonde"
BINDING = PACKAGE / "_libbpf"
BUILD = ROOT / "build"

COMPILE = ["-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-DNDEBUG"]
EXPORTS = Path(__file__).with_name("exports.map")
LINK = ["-shared", "-s", f"-Wl,--version-script={EXPORTS}"]


@dataclass(frozen=True)
class Prepared:
    """What the extension is compiled with and from."""

    compiler: Compiler
    libbpf: libbpf.Libbpf
    sources: list[Path]


def c_compiler() -> Compiler:
    """The machine's, or, where `make wheel` has set $SONDE_SYSROOT, one for the glibc that it names."""
    sysroot = os.environ.get("SONDE_SYSROOT")
    if sysroot:
        return portable_compiler(glibc=os.environ["SONDE_GLIBC"], sysroot=Path(sysroot))
    return host_compiler()


def object_builder() -> ObjectBuilder:
    """Compiles BPF C; its linking program runs here, so it is built with the machine's own compiler."""
    host = host_compiler()
    return ObjectBuilder(
        root=ROOT,
        include=PACKAGE / "probes" / "_include",
        libbpf=libbpf.provide(host),
        host=host,
        stamps=BUILD / "stamps",
    )


def build_objects() -> list[Path]:
    """Every probe's objects, and the filter's, beside their sources; objects whose source is gone are removed."""
    sources = ("probes/*/*.bpf", "filter/*.bpf")
    for stale in (path for source in sources for path in PACKAGE.glob(f"{source}.o")):
        if not stale.with_suffix(".c").exists():
            stale.unlink()
    return build_all(object_builder(), (path for source in sources for path in PACKAGE.glob(f"{source}.c")))


@cache
def prepare() -> Prepared:
    """Build libbpf, the objects, and the C files that are written by the build."""
    objects = build_objects()
    compiler = c_compiler()
    digests.write(BINDING / "digests.c", package=PACKAGE, objects=objects)
    sources = [_binding(), *sorted(BINDING.glob("*.c"))]
    return Prepared(compiler, libbpf.provide(compiler), sources)


def python_headers() -> list[Path]:
    """Where Python's pyconfig.h is found by a compiler that does not search /usr/include.

    Debian's only says `#include <x86_64-linux-gnu/python3.11/pyconfig.h>`.
    """
    headers = Path(sysconfig.get_path("include"))
    multiarch = sysconfig.get_config_var("MULTIARCH") or "none"
    real = headers.parent / multiarch / headers.name
    if not real.exists():
        return []
    link = BUILD / "include" / multiarch / headers.name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(real)
    return [BUILD / "include"]


def binding_stamp(ready: Prepared) -> Stamp:
    """From what the extension in the source tree was made, Python's own headers apart: the stable ABI covers those."""
    flags = [*ready.compiler.flags, *COMPILE, *LINK]
    files = [*ready.sources, *sorted(BINDING.rglob("*.h")), EXPORTS]
    return Stamp(
        BUILD / "stamps" / "_native.stamp",
        inputs=digest_of(ready.libbpf.identity, ready.compiler.identity, *flags, *files),
        outputs=[BINDING / "_native.abi3.so"],
    )


def _binding() -> Path:
    """cffi's C file, from the declarations."""
    declare = runpy.run_path(str(BINDING / "build.py"))["declare"]
    text = io.StringIO()
    # cffi says on stdout that it generates.
    with contextlib.redirect_stdout(io.StringIO()):
        declare().emit_c_code(text)
    generated = BUILD / "native" / "_native.c"
    write_if_changed(generated, text.getvalue())
    return generated
