"""``sonde profile cpu`` against programs that know what their functions take, and beside ``perf record`` on the same run.

Twenty seconds of each program: of fewer samples the shares are not known so well, on a machine that does other things, too.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from interpreters import cpython
from kernel.profiled import perf, programs
from kernel.profiled.perf import Stacks
from kernel.profiled.programs import Program, Ran
from kernel.sonde_process import output_of, ready

# gcc, perf and a CPython of its own are no part of a virtual machine. The first test builds that, and lets all programs run.
pytestmark = [pytest.mark.host_only, pytest.mark.timeout(900)]

DEBIAN_PYTHON = Path("/usr/bin/python3")
NATIVE = ("static", "pie", "cplusplus")
FAST, SLOW = 999, 99
BOUND = {FAST: 0.012, SLOW: 0.03}
"""How far from the truth a share may be."""
BETWEEN = 2**0.5
"""Two estimates of one truth may be off to either side."""
SECONDS = 20.0


@dataclass(frozen=True)
class Profiled:
    """What ran under a profile, what sonde's file says of it, by thread name, and what perf's does, by process."""

    ran: dict[str, Ran]
    sonde: dict[str, Stacks]
    perf: dict[int, Stacks]
    said: str


def with_perf() -> Program:
    """In Python, which tells the names of its functions, by an interpreter with frame pointers."""
    built = cpython.provide()
    return programs.python("python", built.program, "-S", "-X", "perf", before=built.environment)


def stock() -> Program:
    """In Python, as Debian builds it."""
    return programs.python("stock", DEBIAN_PYTHON)


def read_folded(path: Path) -> dict[str, Stacks]:
    found: dict[str, Stacks] = {}
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        comm, *frames = stack.split(";")
        found.setdefault(comm, Counter())[tuple(frames)] += int(count)
    return found


def profiled(folder: Path, makers: Sequence[Callable[[], Program]], frequency: int) -> Profiled:
    """Run programs, and let both profile them meanwhile, on all CPUs."""
    chosen, folded, data = [make() for make in makers], folder / "out.folded", folder / "perf.data"
    arguments = ("profile", "cpu", "--frequency", str(frequency), "-o", str(folded))
    # The programs are children of this process. Whatever else runs here is not theirs, and may be more than is kept.
    arguments += ("--pid", str(os.getpid()), "--children")
    with ExitStack() as stack:
        process = stack.enter_context(ready(*arguments))
        with perf.recording(data, frequency=frequency):
            ran = programs.run_all(chosen, SECONDS)
        process.send_signal(signal.SIGINT)
        output = output_of(process)
    assert output.status == 0, output.err
    return Profiled(
        {each.program.name: each for each in ran},
        read_folded(folded),
        perf.stacks(data, [each.pid for each in ran]),
        output.err,
    )


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Profiled:
    """All programs at 999 Hz."""
    makers = [programs.static, programs.pie, programs.cplusplus, programs.frameless, with_perf, stock]
    return profiled(tmp_path_factory.mktemp("fast"), makers, FAST)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Profiled:
    """Two programs at 99 Hz."""
    return profiled(tmp_path_factory.mktemp("slow"), [programs.pie, programs.cplusplus], SLOW)


def is_function(frame: str, name: str) -> bool:
    """Whether a frame is a function: perf leaves out a C++ function's parameters, and says of Python which language it is."""
    return re.fullmatch(rf"(py::)?{re.escape(name)}([(:_ ].*)?", frame) is not None


def shares(stacks: Stacks, functions: Sequence[str], *, own: bool = False) -> list[float]:
    """The share of samples that has each function on its stack (``own``: innermost), of those with any of them."""
    counts = [
        sum(
            count
            for stack, count in stacks.items()
            if any(is_function(frame, name) for frame in (stack[-1:] if own else stack))
        )
        for name in functions
    ]
    assert sum(counts), f"none of {functions} is on a stack of {stacks.most_common(3)}"
    return [count / sum(counts) for count in counts]


def assert_close(found: Sequence[float], truth: Sequence[float], bound: float) -> None:
    assert max(abs(one - other) for one, other in zip(found, truth, strict=True)) <= bound, (found, truth)


@pytest.mark.parametrize("name", [*NATIVE, "python"])
def test_shares_are_the_programs_own_at_999_hz(fast: Profiled, name: str) -> None:
    """Of 70, 20 and 10 % each is known to 1.2 points, in C, static or not, in C++, in Python, and perf agrees."""
    ran = fast.ran[name]
    found = shares(fast.sonde[ran.program.comm], ran.program.functions)
    assert_close(found, ran.shares, BOUND[FAST])
    assert_close(found, shares(fast.perf[ran.pid], ran.program.functions), BETWEEN * BOUND[FAST])


@pytest.mark.parametrize("name", ["pie", "cplusplus"])
def test_shares_are_the_programs_own_at_99_hz(slow: Profiled, name: str) -> None:
    """Each is known to 3 points, and perf agrees."""
    ran = slow.ran[name]
    found = shares(slow.sonde[ran.program.comm], ran.program.functions)
    assert_close(found, ran.shares, BOUND[SLOW])
    assert_close(found, shares(slow.perf[ran.pid], ran.program.functions), BETWEEN * BOUND[SLOW])


def test_own_shares_need_no_frame_pointers(fast: Profiled) -> None:
    """A program that is built without has its time in the right functions all the same; perf agrees."""
    ran = fast.ran["frameless"]
    found = shares(fast.sonde[ran.program.comm], ran.program.functions, own=True)
    assert_close(found, ran.shares, BOUND[FAST])
    assert_close(found, shares(fast.perf[ran.pid], ran.program.functions, own=True), BETWEEN * BOUND[FAST])


@pytest.mark.parametrize("name", [*NATIVE, "python"])
def test_a_stack_has_all_its_callers(fast: Profiled, name: str) -> None:
    """On nearly every stack with one of the functions its callers are, in their order; nothing there is unknown."""
    program = fast.ran[name].program
    whole = unknown = total = 0
    for stack, count in fast.sonde[program.comm].items():
        if not any(is_function(frame, name) for frame in stack for name in program.functions):
            continue
        total += count
        # Each is searched for in what the one before has left.
        rest = iter(stack)
        whole += count * all(any(is_function(frame, name) for frame in rest) for name in program.callers)
        unknown += count * any("unknown" in frame for frame in stack)
    # A tick in a function's first instructions finds no frame yet.
    assert whole >= 0.99 * total, fast.sonde[program.comm].most_common(3)
    assert unknown <= 0.01 * total, fast.sonde[program.comm].most_common(3)


def test_inlined_functions_are_on_the_stack(fast: Profiled) -> None:
    """What is inlined into a function stands after it, marked as such, where there is debugging information."""
    stacks = fast.sonde[fast.ran["pie"].program.comm]
    of_twenty = {stack: count for stack, count in stacks.items() if "twenty" in stack}
    inlined = sum(
        count
        for stack, count in of_twenty.items()
        if stack[stack.index("twenty") + 1 :][:2] == ("inlined_twenty_[i]", "turn_[i]")
    )
    assert inlined >= 0.98 * sum(of_twenty.values()), of_twenty


def test_a_python_without_frame_pointers_is_said_to_be_one(fast: Profiled) -> None:
    """Debian's CPython breaks nearly every stack off: that is marked, and the profile says the share, and why."""
    stacks = fast.sonde[fast.ran["stock"].program.comm]
    broken = sum(count for stack, count in stacks.items() if stack[0] == "[broken off]")
    assert broken >= 0.9 * sum(stacks.values()), stacks.most_common(3)
    said = next(line for line in fast.said.splitlines() if "broken off" in line)
    assert "python3.11" in said
    assert "without frame pointers" in said
