"""Counting system calls in a virtual machine, whose kernel has its headers: ``python -m benchmarks.virtual``.

BCC runs there with the kernel's own headers, and SystemTap at all: it compiles for none of today's kernels of Debian 12, but does for this one.
What runs inside is ``in_guest``.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks import built
from benchmarks.contenders import syscall_tools
from benchmarks.options import Options, run_part
from benchmarks.results import Column, Part, Row

sys.path.insert(0, str(built.ROOT / "tools"))
from vm import emulator, headers, kernel
from vm.errors import VmError
from vm.host import ensure_programs
from vm.kernel import Kernel
from vm.machine import Command, Machine

VERSION = "5.10.0"
SYSTEMTAP = "SystemTap"
ATTACHED = "attached"
SCRIPT = f'{syscall_tools.STAP_SCRIPT} probe begin {{ println("{ATTACHED}") }}'
OUT = built.BUILD / "virtual"
COMPILE_TIMEOUT_S, GUEST_TIMEOUT_S = 300, 900
WHAT = """\
BCC and SystemTap compile against headers of the kernel that runs, which this machine has none of. A virtual machine with Debian's Linux {release} has, under QEMU. Its processor is
emulated, so that a nanosecond there is none of here: what stands here are ratios within that machine, of what a call takes to what it takes without a tool, and of what it takes *more* to
what it takes more under an empty program on entry. Instructions count there, and caches do not.
"""
COLUMNS = (
    Column("tight_1_slowdown", "getppid", "×"),
    Column("tight_1_floors", "more than without, in empty programs", "×"),
    Column("mixed_slowdown", "a mixed call", "×"),
    Column("mixed_floors", "more than without, in empty programs", "×"),
)
PAIRS = {**syscall_tools.PAIRS, SYSTEMTAP: syscall_tools.COUNTS}


@dataclass(frozen=True)
class Module:
    """SystemTap's module of one kernel: where it is and how long it took, or why there is none."""

    path: Path
    seconds: float = 0
    missing: str = ""


def compiled(system: Kernel) -> Module:
    """Compile a module for another kernel, here: that kernel's headers are shown to SystemTap alone, where a system has them."""
    path = OUT / "sonde_beside.ko"
    if shutil.which("stap") is None:
        return Module(
            path, missing="stap is not installed (tools/contenders installs what the comparison needs)"
        )
    places = headers.places(system)
    # The headers want the compiler that they were packaged with; ours is another, under its name.
    wanted = places[f"/lib/modules/{system.release}/build"] / ".kernelvariables"
    compiler = re.search(r"gcc-\d+$", wanted.read_text(), re.MULTILINE)
    lines = [
        "mount --make-rprivate /",
        "mount -t tmpfs headers /usr/src",
        "mount -t tmpfs modules /lib/modules",
        f"mkdir -p /lib/modules/{system.release} {OUT}/bin",
        *(f"ln -s {place} {where}" for where, place in places.items()),
        f"ln -sf $(command -v gcc) {OUT}/bin/{compiler[0] if compiler else 'gcc'}",
        f"cd {OUT}",
        f"PATH={OUT}/bin:$PATH exec stap --disable-cache -r {system.release} -p4 -m {path.stem} -e {shlex.quote(SCRIPT)}",
    ]
    path.unlink(missing_ok=True)
    begun = time.perf_counter()
    command = ["unshare", "--mount", "sh", "-e", "-c", "\n".join(lines)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return Module(path, missing=f"its module was not compiled after {COMPILE_TIMEOUT_S} s")
    spent = time.perf_counter() - begun
    if path.exists() and done.returncode == 0:
        return Module(path, spent)
    found = re.search(r"^.*\berror: .*$", done.stdout + done.stderr, re.MULTILINE)
    return Module(
        path, missing=f"it ended with status {done.returncode} and said: {found[0] if found else 'nothing'}"
    )


def rows(system: Kernel, rounds: int) -> list[Row]:
    """Measure inside, and give what was found there; raises VmError."""
    OUT.mkdir(parents=True, exist_ok=True)
    module = compiled(system)
    # What is compiled for the guest is compiled here, which has the processor for it.
    built.storm()
    built.bpf_object("contenders/floor")
    found = OUT / "rows.json"
    found.unlink(missing_ok=True)
    links = [f"{where}={place}" for where, place in headers.places(system).items()]
    command = Command(
        [sys.executable, "-m", "benchmarks.in_guest", str(found), str(module.path), str(rounds), *links],
        folder=built.ROOT,
        environment={"PYTHONPATH": f"{built.ROOT}/tools"},
        output=OUT,
    )
    machine = Machine(system, emulator.find(), memory="2G")
    machine.run(command, timeout_s=GUEST_TIMEOUT_S, write=sys.stderr.buffer.write)
    if not found.exists():
        raise VmError("what runs inside ended without an answer: see above")
    return [_told(row, module) for row in msgspec.json.decode(found.read_bytes(), type=list[Row])]


def _told(row: Row, module: Module) -> Row:
    """Add to SystemTap's row what is known of its module outside."""
    if row.contender != SYSTEMTAP:
        return row
    if module.missing:
        return msgspec.structs.replace(row, missing=module.missing)
    return msgspec.structs.replace(row, said=f"compiled in {module.seconds:.0f} s, outside; {row.said}")


def measure(options: Options) -> list[Part]:
    """Measure in the machine; where there is none, say why."""
    begun, release = time.perf_counter(), VERSION
    try:
        ensure_programs()
        system = kernel.find(VERSION)
        release = system.release
        found = rows(system, options.rounds(3))
    except VmError as error:
        found = [Row("a virtual machine", "peer", missing=str(error).splitlines()[0])]
    return [
        Part(
            "virtual",
            "Counting system calls in a virtual machine",
            WHAT.format(release=release),
            list(COLUMNS),
            found,
            pairs=PAIRS,
            plots=[column.key for column in COLUMNS[::2]],
            said="what else there is to say",
            seconds=time.perf_counter() - begun,
        )
    ]


if __name__ == "__main__":
    run_part(measure, __doc__)
