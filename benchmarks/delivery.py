"""What carrying figures on takes: reading rings and maps, the agent at rest, OTLP, Prometheus: ``python -m benchmarks.delivery``."""

from __future__ import annotations

import time

from benchmarks import idle_agent, otlp, prometheus_page, throughput
from benchmarks.gathering import Gathering
from benchmarks.options import Options, run_part
from benchmarks.results import Column, Part
from sonde.exporters.prometheus.accept import Format

WHAT = """\
Draining a ring of 16 MB that is full of records of 16 bytes, and reading a hash of 100,003 entries, both into NumPy; the agent where little happens; CPU time of exporting 10,000 series, from a
snapshot to a receiver's answer, and 1,000 to 100,000 to a compressed page.
"""
PAGES = ((1_000, 0), (10_000, 0), (100_000, 0), (0, 1_000), (0, 10_000))
"""Counters and histograms of a page: how it grows with its series."""
COLUMNS = (Column("value", "figure", "", ""),)


def measure(options: Options) -> list[Part]:
    """Run all of them."""
    found, begun, rounds = Gathering(), time.perf_counter(), options.rounds(5)
    names: list[str] = []

    def add(name: str, value: float) -> None:
        names.append(name)
        found.add(name, "sonde", "value", value)

    add("records of 16 bytes out of a ring, M/s", throughput.ring_records_per_s(rounds=rounds) / 1e6)
    add("entries out of a hash, M/s", throughput.hash_entries_per_s(rounds=rounds) / 1e6)
    at_rest = idle_agent.measure(seconds=options.of(20, 5))
    add("idle agent, resident in all, MB", at_rest.pss_mb)
    add("idle agent, RSS of its two processes, MB", at_rest.agent_rss_mb + at_rest.loader_rss_mb)
    add("idle agent, CPU, % of a core", at_rest.cpu_share * 100)
    for protocol in ("grpc", "http/protobuf"):
        for kind in ("counter", "histogram"):
            _, later = otlp.export_cpu_s(protocol, kind=kind, rounds=rounds)
            add(f"OTLP by {protocol}, 10,000 {kind}s, s of CPU", later)
    for counters, histograms in PAGES:
        for wanted in Format:
            cost = prometheus_page.page_cost(
                wanted, counters=counters, histograms=histograms, rounds=min(2, rounds)
            )
            add(
                f"Prometheus, {wanted.name.lower()}, {counters:,} counters, {histograms:,} histograms, s of CPU",
                cost.cpu_s,
            )
    rows = found.rows(names, COLUMNS)
    return [
        Part(
            "delivery", "Carrying figures on", WHAT, list(COLUMNS), rows, seconds=time.perf_counter() - begun
        )
    ]


if __name__ == "__main__":
    run_part(measure, __doc__)
