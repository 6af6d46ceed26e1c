"""What the probe ``cpu`` measures."""

from __future__ import annotations

from sonde.probe import FOLLOWERS, Probe, Table, Variant

PROBE = Probe(
    name="cpu",
    summary="which code runs on the CPUs: stacks, sampled by a clock",
    tables=(
        Table(
            name="samples",
            map="samples",
            other="samples_other",
            programs=("cpu_tick",),
            summary="stacks of user space and kernel, by process and thread name",
            columns=("pid", "comm", "user_stack", "kernel_stack", "count"),
            weight="count",
        ),
    ),
    variants=(Variant("tp_btf"), Variant("raw_tp", types=dict.fromkeys(FOLLOWERS, "raw_tracepoint"))),
)
