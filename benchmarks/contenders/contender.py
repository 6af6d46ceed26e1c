"""A tool that is compared: how it is started, how one knows that it has attached, how it ends, and what it took."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import built
from benchmarks.contenders import floors, resources
from benchmarks.contenders.lifetime import WITH_US
from benchmarks.gathering import Gathering
from benchmarks.results import Kind
from sonde.bpf.hooks import PerfEvent

SONDE = Path(sys.executable).with_name("sonde")
TOLD = built.BUILD / "told"
ATTACH_TIMEOUT_S = 40.0
SETTLE_S = 0.3
WATCH_S = 0.05
END_TIMEOUT_S = 30.0
TOOLS_CPU = min(os.sched_getaffinity(0))
WORK_CPU = max(os.sched_getaffinity(0))
COMPLAINT = re.compile(
    r"error|fail|unable|cannot|can't|not found|no such|not permitted|denied|unknown", re.IGNORECASE
)
BESIDE = re.compile(r"modprobe|MEMLOCK|WARNING")
LOSS = re.compile(r"\blost\b|\bdropped\b|\bskipped\b", re.IGNORECASE)


class CannotRunError(RuntimeError):
    """A tool that ended, or had attached to nothing, in the words that it used."""


@dataclass
class Session:
    """A tool while it runs, and what it took when it has ended; floors have no process and take nothing.

    ``ended_s`` is from Ctrl-C to its end; None where it had to be killed.
    """

    prefix: list[str] = field(default_factory=list)
    pid: int = 0
    attached_s: float = 0
    ended_s: float | None = None
    begun: resources.Cpu | None = None
    cpu: resources.Cpu | None = None
    memory: resources.Memory | None = None
    output: Path | None = None
    errors: Path | None = None

    def watch(self) -> None:
        """Keep the most memory that was seen."""
        if not self.pid:
            return
        now = resources.memory(self.pid)
        before = self.memory or now
        self.memory = resources.Memory(
            max(now.resident_mb, before.resident_mb), max(now.kernel_mb, before.kernel_mb), now.mapped_mb
        )

    def glance(self) -> None:
        """Keep the most that was resident, without looking at pages."""
        if self.memory is not None:
            resident_mb = resources.peak_mb(self.pid) - self.memory.mapped_mb
            self.memory = replace(self.memory, resident_mb=max(resident_mb, self.memory.resident_mb))

    def cpu_spent(self) -> resources.Cpu:
        """Give the CPU time since it had attached."""
        assert self.begun is not None
        now = resources.cpu(self.pid)
        return resources.Cpu(
            now.user_s - self.begun.user_s,
            now.kernel_s - self.begun.kernel_s,
            now.exact_s - self.begun.exact_s,
        )

    def _printed(self) -> list[Path]:
        return [path for path in (self.output, self.errors) if path is not None and path.exists()]

    def told(self) -> str:
        """Give all that it has printed."""
        return "\n".join(path.read_text(errors="replace") for path in self._printed())

    def lines(self, pattern: str) -> int:
        """Count the lines that it has printed in which a pattern is; there may be too many to hold."""
        wanted, found = re.compile(pattern), 0
        for path in self._printed():
            with path.open(errors="replace") as file:
                found += sum(1 for line in file if wanted.search(line))
        return found

    def of_loss(self) -> str:
        """Give the last line in which it speaks of what it lost; "" where it has not."""
        lines = [line.strip() for line in self.told().splitlines() if LOSS.search(line)]
        return lines[-1][:120] if lines else ""


@dataclass(frozen=True)
class Contender:
    """A tool under its name; ``start`` runs it for the time of a block.

    ``slow`` divides the work that it gets: what takes 30 µs for a call needs no million calls to be measured.
    """

    name: str
    kind: Kind
    start: Callable[[], AbstractContextManager[Session]]
    slow: int = 1


@contextmanager
def nothing() -> Iterator[Session]:
    """Run without a tool."""
    yield Session()


@contextmanager
def floor(*programs: str) -> Iterator[Session]:
    """Attach empty programs of floor.bpf.c."""
    with floors.attached(*programs):
        yield Session()


@contextmanager
def ticking(frequency: int) -> Iterator[Session]:
    """Run an empty program of floor.bpf.c so often a second on every CPU."""
    with (
        floors.loaded("floor_tick") as made,
        made.programs["floor_tick"].attach(PerfEvent(frequency=frequency)),
    ):
        yield Session()


@contextmanager
def wrapping(*prefix: str) -> Iterator[Session]:
    """Put a tool before the command of the work: it starts its target itself."""
    _find(prefix[0])
    output = _told(os.path.basename(prefix[0]))
    at = 2 if "record" in prefix else 1
    yield Session(prefix=[*prefix[:at], "-o", str(output), *prefix[at:]], output=output)


@contextmanager
def running(*command: str, environment: dict[str, str] | None = None, says: str = "") -> Iterator[Session]:
    """Run a tool that looks at the whole machine, on its own CPU, from when it has attached to the end of the block.

    It has attached when it holds programs, links or perf events; where ``says`` is given, when it has printed that.
    """
    _find(command[0])
    name = "-".join(part for part in map(os.path.basename, command[:2]) if re.fullmatch(r"[\w.-]+", part))
    output = _told(name)
    session = Session(output=output, errors=output.with_suffix(".errors"))
    begun = time.perf_counter()
    with output.open("wb") as out, output.with_suffix(".errors").open("wb") as errors:
        process = subprocess.Popen(
            [*WITH_US, "taskset", "-c", str(TOOLS_CPU), *command],
            stdout=out,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            env=os.environ | (environment or {}),
        )
    session.pid = process.pid
    try:
        awaited = _await_words(process, session, says) if says else _await_descriptors(process, session)
        session.attached_s = awaited - begun
        session.begun = resources.cpu(process.pid)
        yield session
    finally:
        _end(process, session)


@contextmanager
def sonde(*arguments: str) -> Iterator[Session]:
    """Run a command of ``sonde`` that has ``--ready-fd``, from when it says that it has attached."""
    with _saying_ready([str(SONDE), *arguments], "-".join(("sonde", *arguments[:2]))) as session:
        yield session


@contextmanager
def python_module(module: str, *arguments: str) -> Iterator[Session]:
    """Run a module that takes ``--ready-fd`` as sonde's commands do."""
    with _saying_ready([sys.executable, "-m", module, *arguments], module) as session:
        yield session


@contextmanager
def _saying_ready(command: list[str], name: str) -> Iterator[Session]:
    output = _told(name)
    session = Session(output=output, errors=output.with_suffix(".errors"))
    read, write = os.pipe()
    begun = time.perf_counter()
    with output.open("wb") as out, output.with_suffix(".errors").open("wb") as errors:
        process = subprocess.Popen(
            [*WITH_US, "taskset", "-c", str(TOOLS_CPU), *command, "--ready-fd", str(write)],
            pass_fds=[write],
            stdout=out,
            stderr=errors,
            cwd=built.ROOT,
        )
    os.close(write)
    session.pid = process.pid
    try:
        if not os.read(read, 1):
            process.wait()
            raise CannotRunError(complaint(session, process.returncode))
        session.attached_s = time.perf_counter() - begun
        # The others have had this while their descriptors were watched: work begins as long after attaching under all tools.
        time.sleep(SETTLE_S)
        session.begun = resources.cpu(process.pid)
        yield session
    finally:
        os.close(read)
        _end(process, session)


@contextmanager
def started(contender: Contender, into: Gathering, *, at: float = 0) -> Iterator[Session | None]:
    """Start a contender; where it cannot run, its words go into the results, and the block gets None."""
    with contextlib.ExitStack() as stack:
        session = None
        # Who could not run in the first round cannot in the next.
        if not into.is_missing(contender.name, at=at):
            try:
                session = stack.enter_context(contender.start())
            except CannotRunError as error:
                into.missing(contender.name, contender.kind, str(error), at=at)
        yield session


def add_session(tool: Contender, session: Session, into: Gathering, *, at: float = 0) -> None:
    """Add what a tool took by itself: nothing of one that has no process, or has ended by itself and answered to nobody."""
    if session.cpu is None or session.memory is None:
        return
    resident_mb, kernel_mb = session.memory.resident_mb, session.memory.kernel_mb
    took = {
        "attached_s": session.attached_s,
        "ended_s": session.ended_s,
        "resident_mb": resident_mb,
        "kernel_mb": kernel_mb,
        "memory_mb": resident_mb + kernel_mb,
    }
    for key, value in took.items():
        if value is not None:
            into.add(tool.name, tool.kind, key, value, at=at)


def _find(program: str) -> None:
    if shutil.which(program) is None:
        raise CannotRunError(
            f"{program} is not installed (tools/contenders installs what the comparison needs)"
        )


def _told(name: str) -> Path:
    TOLD.mkdir(parents=True, exist_ok=True)
    path = TOLD / f"{os.path.basename(name)}.txt"
    path.unlink(missing_ok=True)
    path.with_suffix(".errors").unlink(missing_ok=True)
    return path


def _await_descriptors(process: subprocess.Popen[bytes], session: Session) -> float:
    """Wait until a tool holds programs, links or perf events and opens no more; give when the last one was there."""
    deadline, last, stable_since = time.perf_counter() + ATTACH_TIMEOUT_S, list[str](), time.perf_counter()
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise CannotRunError(complaint(session, process.returncode))
        now = resources.held(process.pid)
        if now != last:
            last, stable_since = now, time.perf_counter()
        if any("bpf-map" not in each for each in now) and time.perf_counter() - stable_since > SETTLE_S:
            return stable_since
        time.sleep(0.005)
    raise CannotRunError(f"it had attached to nothing after {ATTACH_TIMEOUT_S:.0f} s")


def _await_words(process: subprocess.Popen[bytes], session: Session, says: str) -> float:
    """Wait until a tool has printed something; give when."""
    deadline = time.perf_counter() + ATTACH_TIMEOUT_S
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise CannotRunError(complaint(session, process.returncode))
        if says in session.told():
            return time.perf_counter()
        time.sleep(0.005)
    raise CannotRunError(f"it had not said that it has attached after {ATTACH_TIMEOUT_S:.0f} s")


def complaint(session: Session, status: int | None) -> str:
    """Find the line in which a tool says why it ended: the first that complains, else the last of all."""
    lines = [line.strip() for line in session.told().splitlines() if line.strip()]
    complaints = [line for line in lines if COMPLAINT.search(line) and not BESIDE.search(line)]
    said = (complaints or lines[-1:] or ["nothing"])[0]
    return f"it ended with status {status} and said: {said[:200]}"


def _end(process: subprocess.Popen[bytes], session: Session) -> None:
    """Interrupt it as Ctrl-C does, and wait for its answer, watching its memory, which is most while it prints."""
    if process.poll() is not None:
        return
    session.cpu = session.cpu_spent() if session.begun else None
    session.watch()
    begun = watched = time.perf_counter()
    process.send_signal(signal.SIGINT)
    while process.poll() is None and time.perf_counter() - begun < END_TIMEOUT_S:
        with contextlib.suppress(OSError):
            # Looking at a process's pages holds it up: not more often than it takes to see what its maps have most.
            if time.perf_counter() - watched > WATCH_S:
                watched = time.perf_counter()
                session.watch()
            session.glance()
        time.sleep(0.001)
    if process.poll() is None:
        process.kill()
        process.wait()
    else:
        session.ended_s = time.perf_counter() - begun
