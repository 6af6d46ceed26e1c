"""The programs that tests of profiles run: they say themselves what their functions took, and lie here as sources.

Their work comes in pieces of several periods of the clock that samples them, so that a share is known much better than from
as many samples at random: within a point after four seconds at 999 Hz.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from kernel.compiled import CACHE
from sonde_build.compilers import run
from sonde_build.stamps import digest_of

HERE = Path(__file__).resolve().parent
TAKEN = ("seventy", "twenty", "ten")
WITH_FRAME_POINTERS = ("-O2", "-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer")
PATIENCE_S = 300


@dataclass(frozen=True)
class Program:
    """One of them: its name, its file, how that is started, the names of its functions, and of their callers, outermost first."""

    name: str
    file: Path
    before: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    functions: tuple[str, str, str] = TAKEN
    callers: tuple[str, ...] = ("main", "cycle")

    @property
    def comm(self) -> str:
        """The name of its thread, which no other program's has."""
        return self.file.name[:15]

    @property
    def command(self) -> tuple[str, ...]:
        """What starts it, but for how long it is to run."""
        return (*self.before, str(self.file), *self.arguments)


@dataclass(frozen=True)
class Ran:
    """A program that ran: its process, and the share of the CPU time that each function took, by its own clock."""

    program: Program
    pid: int
    shares: tuple[float, float, float] = field(default=(0, 0, 0))


def compiled(name: str, source: str, *flags: str) -> Path:
    """The program of a source here, compiled with gcc or g++ and kept under ``build/test-objects``."""
    path = HERE / source
    output = CACHE / f"{name}-{digest_of(path.name, path, HERE / 'shares.h', *flags)[:16]}"
    if not output.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = output.with_suffix(f".{os.getpid()}")
        compiler = "g++" if path.suffix == ".cpp" else "gcc"
        run([compiler, "-Wall", "-Wextra", *flags, str(path), "-o", str(part)])
        part.replace(output)
    return output


def static() -> Program:
    """In C, linked statically, without information for debuggers."""
    return Program("static", compiled("static", "shares.c", *WITH_FRAME_POINTERS, "-static"))


def pie() -> Program:
    """In C, at an address that changes, with information about what is inlined."""
    return Program("pie", compiled("pie", "shares.c", *WITH_FRAME_POINTERS, "-g", "-fPIE", "-pie"))


def cplusplus() -> Program:
    """In C++: the member of a template, a lambda, an overloaded function."""
    return Program(
        "cplusplus",
        compiled("cplusplus", "shares.cpp", *WITH_FRAME_POINTERS, "-g"),
        functions=(
            "proof::Engine<unsigned long>::seventy",
            "proof::run(double)::'lambda'(unsigned long)::operator()",
            "proof::ten",
        ),
        callers=("main", "proof::run", "proof::cycle"),
    )


def frameless() -> Program:
    """In C, built as most programs are: without frame pointers, so that nothing is known of the callers."""
    return Program("frameless", compiled("frameless", "shares.c", "-O2", "-fomit-frame-pointer"), callers=())


def python(name: str, interpreter: Path, *arguments: str, before: tuple[str, ...] = ()) -> Program:
    """In Python, by an interpreter, which is started under a name of its own."""
    CACHE.mkdir(parents=True, exist_ok=True)
    link = CACHE / f"{name}-{digest_of(str(interpreter))[:16]}"
    if not link.is_symlink():
        link.symlink_to(interpreter)
    return Program(
        name, link, before, (*arguments, str(HERE / "shares.py")), callers=("<module>", "main", "cycle")
    )


def run_all(programs: Sequence[Program], seconds: float) -> list[Ran]:
    """Run each for so much CPU time, one at a time on each CPU, and give what they say."""
    waiting: SimpleQueue[Program] = SimpleQueue()
    for program in programs:
        waiting.put(program)
    ran: list[Ran] = []

    def run_some(cpu: int) -> None:
        while True:
            try:
                program = waiting.get_nowait()
            except Empty:
                return
            ran.append(_run(program, cpu, seconds))

    cpus = sorted(os.sched_getaffinity(0))
    with ThreadPoolExecutor(len(cpus)) as threads:
        list(threads.map(run_some, cpus))
    return sorted(ran, key=lambda each: programs.index(each.program))


def _run(program: Program, cpu: int, seconds: float) -> Ran:
    # Each of these replaces itself by the next: the process is the program's.
    command = ["taskset", "-c", str(cpu), *program.command, str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    told = json.loads(process.communicate(timeout=PATIENCE_S)[0])
    assert process.returncode == 0
    taken = [told[name] for name in TAKEN]
    return Ran(program, process.pid, (taken[0] / sum(taken), taken[1] / sum(taken), taken[2] / sum(taken)))
