"""Run all benchmarks and print them: ``python -m benchmarks``, with ``--quick`` fewer rounds."""

from __future__ import annotations

import argparse

from benchmarks import (
    built,
    idle_agent,
    off_cpu,
    otlp,
    packets,
    per_call,
    profile,
    prometheus_page,
    throughput,
    whole_process,
)
from benchmarks.tracers import SONDE, syscall_tracers


def _map_memory() -> None:
    from sonde.probes import probe
    from sonde.run import Run

    for output in ("counts", "latency"):
        with Run(probe("syscalls"), output) as run:
            told = run.describe()
        here, large = told["map_memory_bytes"] / 1e6, told["map_memory_bytes_128_cpus"] / 1e6
        print(f"map memory, {output:22} {here:5.1f} MB here, {large:5.1f} MB with 128 CPUs")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    quick = parser.parse_args().quick
    content, storm = built.floor_object(), built.storm()

    tracers = syscall_tracers(content)
    results = per_call.measure(
        storm, tracers, rounds=2 if quick else 7, calls=300_000 if quick else 1_000_000
    )
    per_call.report(results, tracers)

    rounds = 3 if quick else 11
    print(
        f"start to attached, count-only      {whole_process.start_to_attached_s('--count-only', rounds=rounds):.3f} s"
    )
    print(f"start to attached, latency         {whole_process.start_to_attached_s(rounds=rounds):.3f} s")
    for command in (
        [str(SONDE), "top", "syscalls", "--for", "3s"],
        ["syscount", "-P", "-L", "-d", "3"],
        ["bpftrace", "-e", "BEGIN { exit(); }"],
    ):
        peak = whole_process.peak_memory_mb(command)
        told = (
            "not installed" if peak is None else f"{peak:.1f} MB" if peak else "ended before it could be seen"
        )
        print(f"peak memory, {command[0].rpartition('/')[2]:22}{told}")
    _map_memory()
    print(
        f"ring buffer, 16-byte records       {throughput.ring_records_per_s(content, rounds=rounds) / 1e6:.1f} M/s"
    )
    print(
        f"hash entries                       {throughput.hash_entries_per_s(content, rounds=rounds) / 1e6:.2f} M/s"
    )
    otlp.report(rounds=rounds)
    prometheus_page.report(rounds=2 if quick else 5)
    _idle_agent(quick=quick)
    packets.report(quick=quick)
    profile.report(quick=quick)
    off_cpu.report(quick=quick)


def _idle_agent(*, quick: bool) -> None:
    found = idle_agent.measure(seconds=10 if quick else 60)
    print(
        f"idle agent, resident               {found.agent_rss_mb:.0f} MB, its loader {found.loader_rss_mb:.0f} MB; "
        f"{found.pss_mb:.0f} MB in all, what they share counted once"
    )
    print(f"idle agent, CPU                    {found.cpu_share:.2%} of a core")


if __name__ == "__main__":
    main()
