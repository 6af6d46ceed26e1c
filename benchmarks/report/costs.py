"""What an event costs the kernel, from the results of a run, into the probes' declarations: ``cost_ns``, which the agent's budget takes.

``make bench PUBLISH=1`` writes them. An output that no part of the comparison measures keeps what it declares.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks import built
from benchmarks.contenders import syscall_tools
from benchmarks.results import Results

PROBES = built.ROOT / "src" / "sonde" / "probes"
KINDS = ("fork", "exec", "exit")


@dataclass(frozen=True)
class Cost:
    """Where an output's cost is found: the medians of some rows together, divided among its events, less that of a floor."""

    probe: str
    output: str
    part: str
    key: str
    rows: tuple[str, ...]
    events: int = 1
    floor: str = ""

    def found_in(self, found: Results) -> float | None:
        """Give nanoseconds of an event, with the digits that a README has; None where they were not measured."""
        told = [self._median(found, row) for row in self.rows]
        floor = self._median(found, self.floor) if self.floor else 0
        if floor is None or None in told:
            return None
        spent_ns = sum(filter(None, told)) / self.events - floor
        # Noise may be more than what costs nearly nothing.
        return float(round(spent_ns, 0 if spent_ns >= 10 else 1)) if spent_ns >= 0.1 else None

    def _median(self, found: Results, contender: str) -> float | None:
        row = found.parts[self.part].row(contender) if self.part in found.parts else None
        return row.median(self.key) if row else None


def _probes(probe: str, output: str, *rows: str, events: int = 1) -> Cost:
    return Cost(probe, output, "probes", "added_ns", rows, events)


COSTS = (
    Cost("syscalls", "counts", "syscalls", "tight_1_added", (syscall_tools.COUNTS,)),
    Cost("syscalls", "latency", "syscalls", "tight_1_added", (syscall_tools.LATENCY,)),
    *(_probes("drops", output, f"drops.{output}, packet") for output in ("counts", "packets")),
    _probes("processes", "lifetimes", "processes.lifetimes, exit"),
    *(
        _probes("processes", output, *(f"processes.{output}, {kind}" for kind in KINDS), events=len(KINDS))
        for output in ("events", "lifecycle")
    ),
    # A connection has two sides.
    *(
        _probes("tcp", output, f"tcp.{output}, connection", events=2)
        for output in ("processes", "peers", "connect", "accept", "rtt", "connections")
    ),
    # Who waits is woken, and then switched to.
    _probes("runqueue", "waits", "runqueue, switch", "runqueue, wakeup"),
    _probes("offcpu", "blocked", "offcpu, switch", "offcpu, waking"),
    *(
        Cost("packets", output, "packets", "alone_ns", (row,), floor="an empty XDP program")
        for output, row in (("protocols", "packets, by protocol"), ("flows", "packets, by flow"))
    ),
)


def declaration(probe: str) -> Path:
    """Name the file in which a probe declares its outputs."""
    return PROBES / probe / "probe.py"


def with_cost(text: str, output: str, cost_ns: float) -> str:
    """Give a declaration in which an output costs so many nanoseconds; raises ValueError where it declares no cost."""
    changed, count = re.subn(
        rf'(\bname="{output}",.*?\bcost_ns=)[\d_.]+', rf"\g<1>{cost_ns:g}", text, count=1, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError(f"no cost of {output} is declared")
    return changed


def write_all(found: Results) -> None:
    """Write what was measured into every declaration."""
    for cost in COSTS:
        cost_ns = cost.found_in(found)
        if cost_ns is not None:
            path = declaration(cost.probe)
            path.write_text(with_cost(path.read_text(), cost.output, cost_ns))
