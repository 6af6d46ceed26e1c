"""What profiles cost, beside perf and offcputime: ``python -m benchmarks.profile``.

The slow-down of a busy program twice: measured, as what interrupts take from a program that looks at the clock all the
time, less what they take without a profiler (in the tenth of its time that nothing else disturbs); and computed, as samples × what one costs, which is measured at ten times the
frequency, where it stands out. Rounds go A B C … A B C …, differences are each to its round's own baseline, and
medians are printed. Then whole profiles of a machine with all CPUs busy: CPU time, memory, and the time from Ctrl-C to the
finished file. Needs root.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks import built
from benchmarks.contenders.contender import SONDE, WORK_CPU, sonde
from benchmarks.contenders.finished import Finished, finish
from benchmarks.contenders.lifetime import WITH_US
from benchmarks.off_cpu import why_not
from benchmarks.options import Options, run_report
from benchmarks.workloads.mixed_load import mixed_load

sys.path.insert(0, str(built.ROOT / "tests"))
from kernel.profiled import perf

FREQUENCY, CALIBRATION = 99, 990
SLOW_DOWN_AIM, GRAPH_AIM_S, MEMORY_AIM_MB = 0.002, 1.5, 120
CPUS = len(os.sched_getaffinity(0))
DEPTH = 24
ON_CPU, OFF_CPU = "sonde profile cpu", "sonde profile offcpu"
NO_PERF = "" if shutil.which("perf") else "perf is not installed (Debian package linux-perf)"


# ---- the slow-down of a busy program ------------------------------------------------------------------------------


@contextmanager
def _perf(frequency: int) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder, perf.recording(Path(folder) / "data", frequency=frequency):
        yield


def _samplers() -> dict[str, Callable[[int], AbstractContextManager[object]]]:
    samplers: dict[str, Callable[[int], AbstractContextManager[object]]] = {
        ON_CPU: lambda frequency: sonde(
            "profile", "cpu", "--frequency", str(frequency), "-o", "/dev/null", "--format", "folded"
        )
    }
    if not NO_PERF:
        samplers["perf record -g -a"] = _perf
    return samplers


def _stolen(program: Path, seconds: float) -> float:
    """The share of its time that was taken from the busy program."""
    command = ["taskset", "-c", str(WORK_CPU), str(program), str(seconds), str(DEPTH)]
    parts = sorted(map(float, subprocess.check_output(command).split()))
    # A tenth of the windows has less: they are those that nothing else disturbs.
    return parts[len(parts) // 10] / 1e6


def slow_downs(*, rounds: int, seconds: float) -> dict[tuple[str, int], float]:
    """The share that each sampler takes from a busy program at each frequency: the median over the rounds."""
    program = built.storm("stolen", "-fno-omit-frame-pointer")
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        without = _stolen(program, seconds)
        for name, sampling in _samplers().items():
            for frequency in (FREQUENCY, CALIBRATION):
                with sampling(frequency):
                    found.setdefault((name, frequency), []).append(_stolen(program, seconds) - without)
    return {key: statistics.median(values) for key, values in found.items()}


def ns_of_program(*, seconds: float) -> float:
    """Nanoseconds that the kernel says a run of our program takes, in a window of its statistics."""
    from sonde.bpf import RunStatistics
    from sonde.probes import probe
    from sonde.run import Run

    program = built.storm("stolen", "-fno-omit-frame-pointer")
    with Run(probe("cpu"), values={"frequency": CALIBRATION}) as run, RunStatistics():
        # Idle ticks return at once: one busy program for each CPU.
        busy = [
            subprocess.Popen([*WITH_US, str(program), str(seconds), str(DEPTH)], stdout=subprocess.DEVNULL)
            for _ in range(CPUS)
        ]
        before = run.statistics()
        for process in busy:
            process.wait()
        after = run.statistics()
    time_ns, runs = (sum(told[at] - before[name][at] for name, told in after.items()) for at in (0, 1))
    return time_ns / runs


# ---- a whole profile ----------------------------------------------------------------------------------------------


def _profile_by_sonde(output: str, seconds: float, *arguments: str) -> Finished:
    read, write = os.pipe()
    command = [str(SONDE), "profile", *arguments, "-o", output, "--ready-fd", str(write)]

    def ready() -> None:
        os.close(write)
        if not os.read(read, 1):
            raise RuntimeError(f"{command!r} did not attach")

    try:
        return finish(command, seconds=seconds, ready=ready, pass_fds=[write], stderr=subprocess.DEVNULL)
    finally:
        os.close(read)


def _profile_by_perf(folder: Path, seconds: float, *script: str) -> Finished:
    data = folder / "perf.data"
    recorded = ["perf", "record", "-q", "-F", str(FREQUENCY), "-g", "-a", "-o", str(data)]
    # It samples when its file is there.
    taken = finish(recorded, seconds=seconds, ready=lambda: _wait_for(data), stderr=subprocess.DEVNULL)
    # Beforehand, and in nobody's time: without this perf script may end before its end.
    perf.without_kernel_symbols(data)
    folding = (
        'perf script -i "$0" -F comm,ip,sym '
        + " ".join(script)
        + f" 2>&- | awk -f {built.HERE / 'contenders' / 'fold.awk'}"
    )
    return taken.then(finish(["bash", "-o", "pipefail", "-c", folding, str(data)], stdout=subprocess.DEVNULL))


def _profile_by_offcputime(seconds: float) -> Finished:
    """It prints its stacks, with names, when it ends."""
    return finish(
        ["offcputime", "600"],
        seconds=seconds,
        # It tells nobody when it has attached.
        ready=lambda: time.sleep(1),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists() or not path.stat().st_size:
        if time.monotonic() > deadline:
            raise RuntimeError("perf record has written nothing for 10 s")
        time.sleep(0.02)


def whole_profiles(*, rounds: int, seconds: float) -> dict[str, Finished]:
    """Profiles of all CPUs under a mixed load, by each tool: medians of each figure over the rounds."""
    found: dict[str, list[Finished]] = {}
    with tempfile.TemporaryDirectory() as name, mixed_load():
        folder = Path(name)
        tools: dict[str, Callable[[], Finished]] = {
            f"{ON_CPU} → .html": lambda: _profile_by_sonde(f"{folder}/out.html", seconds, "cpu"),
            f"{ON_CPU} → .folded": lambda: _profile_by_sonde(f"{folder}/out.folded", seconds, "cpu"),
        }
        if not NO_PERF:
            tools["perf record, script, folded"] = lambda: _profile_by_perf(folder, seconds)
            tools["… perf script --no-inline"] = lambda: _profile_by_perf(folder, seconds, "--no-inline")
        tools[f"{OFF_CPU} → .html"] = lambda: _profile_by_sonde(f"{folder}/off.html", seconds, "offcpu")
        if not why_not("offcputime", "libbpf-tools"):
            tools["offcputime"] = lambda: _profile_by_offcputime(seconds)
        for _ in range(rounds):
            for tool, profiled in tools.items():
                found.setdefault(tool, []).append(profiled())
    return {tool: _median(figures) for tool, figures in found.items()}


def _median(figures: list[Finished]) -> Finished:
    return Finished(
        *(
            statistics.median(getattr(each, name) for each in figures)
            for name in ("cpu_s", "memory_mb", "after_s")
        )
    )


# ---- what is printed ----------------------------------------------------------------------------------------------


def _map_memory(name: str) -> tuple[float, float]:
    """Megabytes of a profile's maps, here and with 128 CPUs."""
    from sonde.probes import probe
    from sonde.run import Run

    with Run(probe(name)) as run:
        told = run.describe()
    return told["map_memory_bytes"] / 1e6, told["map_memory_bytes_128_cpus"] / 1e6


def _print_slow_downs(found: Mapping[tuple[str, int], float], program_ns: float) -> None:
    print(
        f"slow-down of a busy program at {FREQUENCY} Hz    measured  computed   a sample   (aim: ≤ {SLOW_DOWN_AIM:.1%})"
    )
    for name in dict.fromkeys(name for name, _ in found):
        sample_ns = found[name, CALIBRATION] / CALIBRATION * 1e9
        computed = sample_ns * FREQUENCY / 1e9
        of_it = f", {program_ns / 1000:.1f} µs of it in BPF" if name.startswith("sonde") else ""
        print(
            f"  {name:34} {found[name, FREQUENCY]:8.3%} {computed:9.3%}   {sample_ns / 1000:5.1f} µs{of_it}"
        )


def report(options: Options) -> None:
    """Measure and print."""
    found = slow_downs(rounds=options.rounds_wanted or options.of(9, 3), seconds=options.of(3, 2))
    _print_slow_downs(found, ns_of_program(seconds=1))
    seconds = options.of(30, 5)
    maps = {ON_CPU: _map_memory("cpu"), OFF_CPU: _map_memory("offcpu")}
    print(
        f"profile of {seconds} s × {CPUS} CPUs at {FREQUENCY} Hz      CPU s   memory   from Ctrl-C to the file   (aim: ≤ {MEMORY_AIM_MB} MB, ≤ {GRAPH_AIM_S} s)"
    )
    for name, told in whole_profiles(rounds=options.rounds(3), seconds=seconds).items():
        memory_mb = told.memory_mb + sum(here for tool, (here, _) in maps.items() if name.startswith(tool))
        print(f"  {name:34} {told.cpu_s:7.2f} {memory_mb:5.0f} MB {told.after_s:10.2f} s")
    for name, (here, large) in maps.items():
        print(
            f"  map memory, {name:22} {here:5.1f} MB here (in the figures above), {large:5.1f} MB with 128 CPUs"
        )
    for name, why in (("perf record", NO_PERF), ("offcputime", why_not("offcputime", "libbpf-tools"))):
        if why:
            print(f"  {name:34} not measured: {why}")


if __name__ == "__main__":
    run_report(report, __doc__)
