"""Nanoseconds that the probe ``drops`` adds to each dropped packet: ``python -m benchmarks.per_drop``.

By the kernel's own statistics of programs, beside an empty program on the same hook in the same moment: the clock that
it reads twice is in both. The packets are the probe's workload, in network namespaces of its own. Medians of several
rounds; the share is of what a datagram takes from sendto() to its drop, wall clock.
"""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack

from benchmarks.contenders import floors
from sonde.bpf import RunStatistics
from sonde.probes import probe
from sonde.probes.drops import workload
from sonde.run import Run

ROUNDS = 9
PACKETS = 20_011
FLOOR = "floor_drop"


def one_round(output: str) -> tuple[float, float, float]:
    """Drop the packets once: nanoseconds of the output's program, of the empty one, and of a packet."""
    with ExitStack() as stack:
        run = stack.enter_context(Run(probe("drops"), output))
        floor = stack.enter_context(floors.attached(FLOOR)).programs[FLOOR]
        ours = run.loaded.programs[f"{output}_drop"]
        stack.enter_context(RunStatistics())
        before = (ours.run_time_ns, ours.run_count, floor.run_time_ns, floor.run_count)
        begun = time.perf_counter()
        workload.run(PACKETS)
        packet_ns = (time.perf_counter() - begun) / PACKETS * 1e9
        after = (ours.run_time_ns, ours.run_count, floor.run_time_ns, floor.run_count)
    spent = [now - then for now, then in zip(after, before, strict=True)]
    return spent[0] / spent[1], spent[2] / spent[3], packet_ns


def main() -> None:
    """Print what each output adds to a drop."""
    empty = []
    for output in ("counts", "packets"):
        rounds = [one_round(output) for _ in range(ROUNDS)]
        added = statistics.median(ours - floor for ours, floor, _ in rounds)
        packet_ns = statistics.median(each for _, _, each in rounds)
        empty += [floor for _, floor, _ in rounds]
        print(f"{output:24} {added:6.0f} ns a drop   {added / packet_ns:.1%} of {packet_ns:.0f} ns")
    print(f"(empty program           {statistics.median(empty):6.0f} ns)")


if __name__ == "__main__":
    main()
