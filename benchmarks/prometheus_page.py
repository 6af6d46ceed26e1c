"""What a scrape costs: 10,000 series as a compressed page, and the endpoint in memory."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from sonde.exporters.prometheus.accept import Format
from sonde.exporters.prometheus.pages import make_page
from sonde.records.metrics import Metric, Series, Snapshot

BUCKETS = 88
CALLS = Metric("sonde.syscall.calls", "counter", "{call}", "System calls.", value="count")
DURATION = Metric(
    "sonde.syscall.duration",
    "histogram",
    "s",
    "Time.",
    value="buckets",
    factor=1e-9,
    scale=1,
    exponent=-30,
    total="t",
)
SYSCALLS = ("read", "write", "openat", "close", "futex", "mmap", "ioctl")

ENDPOINT = """
import numpy, os
def rss_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
before = rss_mb()
from sonde.exporters.prometheus.exporter import PrometheusExporter
from sonde.exporters.prometheus.settings import PrometheusSettings
exporter = PrometheusExporter(PrometheusSettings(port=0))
print(rss_mb() - before)
exporter.close(timeout_s=10)
"""


@dataclass(frozen=True)
class Cost:
    """CPU time of a page, and its size before and after compression."""

    cpu_s: float
    size_bytes: int
    compressed_bytes: int


def _series(metric: Metric, count: int) -> Series:
    random = np.random.default_rng(1)
    attributes: dict[str, np.ndarray[Any, Any]] = {}
    texts: dict[str, list[str | None]] = {
        "process.executable.name": [f"program-{at // 7}" for at in range(count)],
        "sonde.syscall": [SYSCALLS[at % 7] for at in range(count)],
        "error.type": ["EAGAIN" if at % 3 == 0 else None for at in range(count)],
    }
    for name, told in texts.items():
        column = np.empty(count, dtype=object)
        column[:] = told
        attributes[name] = np.ma.masked_array(column, mask=[value is None for value in told])
    start_ns = np.full(count, 10**18)
    if metric.kind != "histogram":
        return Series(
            metric, attributes, random.integers(0, 2**40, count).astype(np.uint64), start_ns, 10**18
        )
    values = np.zeros((count, BUCKETS), np.uint64)
    # Seventeen buckets in a row: latencies of one system call spread over eight powers of two.
    middle = random.integers(20, 60, count)
    for at in range(-8, 9):
        values[np.arange(count), middle + at] = random.integers(0, 100_000, count)
    totals = random.integers(0, 2**50, count).astype(np.uint64)
    return Series(metric, attributes, values, start_ns, 10**18, totals=totals)


def page_cost(wanted: Format, *, counters: int, histograms: int, rounds: int) -> Cost:
    """Make a page of so many series; the least of the rounds, compression included."""
    parts = tuple(
        _series(metric, count) for metric, count in ((CALLS, counters), (DURATION, histograms)) if count
    )
    snapshot = Snapshot(parts, 10**18, {"service.name": "sonde"})
    least, page = float("inf"), None
    for _ in range(rounds):
        begun = time.process_time()
        page = make_page(snapshot, wanted, classic_buckets=26)
        least = min(least, time.process_time() - begun)
    assert page is not None
    return Cost(least, page.size_bytes, len(page.compressed))


def endpoint_memory_mb() -> float:
    """Start an endpoint in a process that has NumPy already, and give what it adds."""
    told = subprocess.run([sys.executable, "-c", ENDPOINT], capture_output=True, text=True, check=True).stdout
    return float(told)


def report(*, rounds: int) -> None:
    """Print all of it."""
    for counters, histograms in ((10_000, 0), (8_000, 2_000), (0, 10_000)):
        for wanted in Format:
            cost = page_cost(wanted, counters=counters, histograms=histograms, rounds=rounds)
            what = f"{wanted.name.lower()}, {counters:,} counters, {histograms:,} histograms"
            sizes = f"{cost.size_bytes / 1e6:.1f} MB, {cost.compressed_bytes / 1e6:.2f} compressed"
            print(f"Prometheus page, {what:45}{cost.cpu_s:.3f} s CPU, {sizes}")
    print(f"Prometheus endpoint, beside NumPy  {endpoint_memory_mb():.1f} MB")


if __name__ == "__main__":
    report(rounds=5)
