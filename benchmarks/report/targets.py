"""What is to be reached, each computed from the results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import crowds
from benchmarks.contenders import syscall_tools
from benchmarks.results import Results, cell

STORAGE_BYTES = 136
"""An element of task storage: 72 bytes of the kernel's, and the probe's value (``struct start``)."""
COUNTS, LATENCY = syscall_tools.COUNTS, syscall_tools.LATENCY


@dataclass(frozen=True)
class Target:
    """A bound and how its figure is found; None where the run has not measured it."""

    what: str
    unit: str
    bound: float
    better: str
    find: Callable[[Results], float | None]

    def line(self, results: Results) -> str:
        """Write a row of the table."""
        value, sign = self.find(results), "≤" if self.better == "less" else "≥"
        if value is None:
            return f"| {self.what} | {sign} {cell(self.bound)}{self.unit} | not measured | |"
        met = value <= self.bound if self.better == "less" else value >= self.bound
        verdict = "yes" if met else "**no**"
        return (
            f"| {self.what} | {sign} {cell(self.bound)}{self.unit} | {cell(value)}{self.unit} | {verdict} |"
        )


def _ratio(part: str, key: str, ours: str, theirs: str, at: float = 0) -> Callable[[Results], float | None]:
    def find(results: Results) -> float | None:
        return results.parts[part].ratio(key, ours, theirs, at) if part in results.parts else None

    return find


def _median(part: str, key: str, contender: str, at: float = 0) -> Callable[[Results], float | None]:
    def find(results: Results) -> float | None:
        row = results.parts[part].row(contender, at) if part in results.parts else None
        return row.median(key) if row else None

    return find


def _memory_to_half_of(peer: str) -> Callable[[Results], float | None]:
    return _ratio("tools", "memory_mb", syscall_tools.COUNTS, peer)


def _most_records(results: Results) -> float | None:
    """Give the highest rate at which the library lost nothing in any round, in millions a second."""
    if "streams" not in results.parts:
        return None
    rows = [row for row in results.parts["streams"].rows if row.contender == "sonde, into NumPy"]
    whole = [row.median("made_rate") or 0 for row in rows if min(row.figures("delivered"), default=0) >= 100]
    return max(whole, default=0) / 1e6


def _map_fill(results: Results) -> float | None:
    """Give the map memory with the most processes over what `sonde doctor` says is the bound; of both tables the larger."""
    if not {"crowds", "probes"} <= set(results.parts):
        return None
    fill = []
    for contender, table in ((COUNTS, "syscalls.counts"), (LATENCY, "syscalls.latency")):
        # A quick run has fewer processes, which fill nothing.
        most = results.parts["crowds"].row(contender, crowds.SIZES[-1])
        bound = results.parts["probes"].row(table)
        if most is not None and most.cells and bound is not None:
            fill.append((most.median("kernel_mb") or 0) / (bound.median("maps_mb") or 1))
    return max(fill, default=None)


def beyond(results: Results) -> str:
    """Say what the peak is where there are most processes, which is not the work that the aim is of; "" where it was not measured."""
    find = {name: _median("crowds", "memory_mb", name, crowds.SIZES[-1]) for name in (COUNTS, LATENCY)}
    told = [f"{cell(peak)} MB of `{name}`" for name, of in find.items() if (peak := of(results)) is not None]
    if not told:
        return ""
    return (
        f"Peak memory is that beside the loops and programs below; with {crowds.SIZES[-1]:,} processes it is {' and '.join(told)}. In no figure is what "
        f"tools keep in the storage of tasks, for the kernel does not tell: {STORAGE_BYTES} bytes for each thread under `{LATENCY}`."
    )


TARGETS = (
    Target(
        "counting, added ns, to `syscount -P`",
        " ×",
        0.6,
        "less",
        _ratio("syscalls", "tight_1_added", COUNTS, "syscount -P"),
    ),
    Target(
        "counting, added ns, to bpftrace",
        " ×",
        0.5,
        "less",
        _ratio("syscalls", "tight_1_added", COUNTS, "bpftrace count()"),
    ),
    Target(
        "with latency, added ns, to `syscount -P -L`",
        " ×",
        0.8,
        "less",
        _ratio("syscalls", "tight_1_added", LATENCY, "syscount -P -L"),
    ),
    Target("records into NumPy, none lost, ring of 16 MB", " M/s", 1, "more", _most_records),
    Target(
        "start to attached, `top syscalls --count-only`",
        " s",
        0.2,
        "less",
        _median("tools", "attached_s", COUNTS),
    ),
    Target("start to attached, `top syscalls`", " s", 0.2, "less", _median("tools", "attached_s", LATENCY)),
    Target(
        "peak memory with maps, `top syscalls --count-only`",
        " MB",
        40,
        "less",
        _median("tools", "memory_mb", COUNTS),
    ),
    Target(
        "peak memory with maps, `top syscalls`", " MB", 40, "less", _median("tools", "memory_mb", LATENCY)
    ),
    Target("the same, to bpftrace", " ×", 0.5, "less", _memory_to_half_of("bpftrace count()")),
    Target("the same, to BCC", " ×", 0.5, "less", _memory_to_half_of("BCC syscount -P")),
    Target("map memory with 10,000 processes, to its bound", " ×", 1, "less", _map_fill),
)
