"""The two compilers of a build: one for C that runs here (or on an older glibc), one for BPF C."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CLANG_MIN = 15
"""The oldest clang tried: 14 and before lack BTF declaration tags."""

BPF_FLAGS = [
    # Version 3 adds 32-bit jumps, and atomics that Linux 5.10 and 5.11 reject; version 2 runs everywhere.
    "-mcpu=v2",
    "-g",
    "-O2",
    # Unwind tables become .eh_frame, which libbpf's linker refuses.
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-Wall",
    "-Werror",
    # Since clang 21 libbpf's BPF_CORE_READ draws this for every const field; older clangs do not know it.
    "-Wno-unknown-warning-option",
    "-Wno-default-const-init-var-unsafe",
]

ARCHITECTURES = {"x86_64": ("x86", "x86"), "aarch64": ("arm64", "aarch64")}
"""machine → (the name in bpf_tracing.h, the name in zig's headers)"""


class BuildError(Exception):
    """The build cannot go on; the message says what to do."""


@dataclass(frozen=True)
class Compiler:
    """A command that compiles, the flags that it always needs, and a text that changes when it does."""

    command: list[str]
    flags: list[str]
    identity: str


def run(command: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command and give its output; BuildError carries what it said when it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        # zig keeps its cache below HOME, which a service's environment need not have.
        env={"HOME": str(Path.home()), **(os.environ if env is None else env)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout.strip()}")
    return done.stdout


@cache
def find_clang() -> str | None:
    """The clang to use: $SONDE_CLANG, else clang, else the newest clang-N on PATH; None where all are too old."""
    chosen = os.environ.get("SONDE_CLANG")
    if chosen:
        return None if chosen == "none" else chosen
    candidates = ["clang", *(f"clang-{number}" for number in range(40, CLANG_MIN - 1, -1))]
    for path in filter(None, map(shutil.which, candidates)):
        found = re.search(r"clang version (\d+)", run([path, "--version"]))
        if found and int(found[1]) >= CLANG_MIN:
            return path
    return None


@cache
def bpf_compiler() -> Compiler:
    """clang where there is one, else ziglang from PyPI, which holds clang and the headers of the C library."""
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise BuildError(f"sonde is built for {' and '.join(ARCHITECTURES)}, not for {machine}")
    target, zig_name = ARCHITECTURES[machine]
    flags = [*BPF_FLAGS, f"-D__TARGET_ARCH_{target}"]
    clang = find_clang()
    if clang:
        multiarch = sysconfig.get_config_var("MULTIARCH") or f"{machine}-linux-gnu"
        system = ["-idirafter", f"/usr/include/{multiarch}"]
        return Compiler([clang], ["-target", "bpfel", *flags, *system], run([clang, "--version"]))
    zig = zig_command()
    headers = _zig_folder() / "lib" / "libc" / "include"
    system = ["-isystem", f"{headers}/any-linux-any", "-isystem", f"{headers}/{zig_name}-linux-any"]
    return Compiler(
        [*zig, "cc"], ["-target", "bpfel-freestanding", *flags, *system], "zig " + run([*zig, "version"])
    )


def zig_command() -> list[str]:
    """The command that starts PyPI's zig; BuildError where it is not installed."""
    _zig_folder()
    return [sys.executable, "-m", "ziglang"]


def _zig_folder() -> Path:
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise BuildError(
            f"no compiler for BPF C: there is neither clang ≥ {CLANG_MIN} nor ziglang: "
            "apt-get install clang-19, or pip install ziglang"
        )
    return Path(spec.origin).parent


@cache
def host_compiler() -> Compiler:
    """The C compiler for this machine: $CC, else cc."""
    command = os.environ.get("CC", "cc").split()
    if shutil.which(command[0]) is None:
        raise BuildError(f"no C compiler: {command[0]} is not on PATH: apt-get install gcc")
    return Compiler(command, [], run([*command, "--version"]))


def portable_compiler(*, glibc: str, sysroot: Path) -> Compiler:
    """zig's compiler for an older glibc, with the headers and libraries of unpacked packages."""
    machine = platform.machine()
    zig = zig_command()
    flags = [
        "-target",
        f"{machine}-linux-gnu.{glibc}",
        "-fno-sanitize=undefined",
        f"-I{sysroot}/usr/include",
        f"-I{sysroot}/usr/include/{machine}-linux-gnu",
        f"-L{sysroot}/usr/lib/{machine}-linux-gnu",
    ]
    return Compiler([*zig, "cc"], flags, f"zig {run([*zig, 'version']).strip()} glibc {glibc}")
