"""What the probe ``processes`` measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonde.probe import FOLLOWERS, Knob, Probe, Stream, Table, Variant
from sonde.records.metrics import Metric, durations

if TYPE_CHECKING:
    from sonde.records.model import Enricher, RecordBatch


def _key_enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.cgroup import with_cgroup
    from sonde.enrich.place import with_place
    from sonde.enrich.process_event import with_exit

    return (_with_comm, with_exit, with_cgroup, with_place)


def _lifetimes_enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.duration import with_quantiles

    return (_with_exits, *_key_enrichers(), with_quantiles)


def _stream_enrichers() -> tuple[Enricher, ...]:
    from sonde.enrich.cgroup import with_cgroup
    from sonde.enrich.comm import with_comm
    from sonde.enrich.place import with_place
    from sonde.enrich.process_event import with_event, with_exit
    from sonde.enrich.times import with_times

    return (with_times, with_comm, with_event, with_exit, with_cgroup, with_place)


def _with_comm(batch: RecordBatch) -> RecordBatch:
    import numpy as np

    from sonde.enrich.comm import as_text

    comm = as_text(np.asarray(batch["comm"]))
    comm[np.asarray(batch["is_other"])] = "other"
    return batch.adding({"comm": comm})


def _with_exits(batch: RecordBatch) -> RecordBatch:
    """A process that ended is in a bucket."""
    import numpy as np

    return batch.adding({"exits": np.asarray(batch["lifetime_buckets"]).sum(axis=1)})


PROGRAMS = {
    "events": ("events_fork", "events_exec", "events_exit"),
    "lifetimes": ("lifetimes_exit",),
    "lifecycle": (
        "lifecycle_mkdir",
        "lifecycle_move",
        "lifecycle_fork",
        "lifecycle_exec",
        "lifecycle_exit",
    ),
}
RAW = dict.fromkeys((*(name for names in PROGRAMS.values() for name in names), *FOLLOWERS), "raw_tracepoint")

WHO = {"process.command": "comm"}
HOW = {**WHO, "process.exit.code": "exit_code", "sonde.process.exit.signal": "exit_signal"}
"""Attributes; cgroup, unit and container are added by what exports them."""

FORKS = Metric(
    name="sonde.process.forks",
    kind="counter",
    unit="{process}",
    description="Processes that began, by the name that they began with.",
    value="forks",
    attributes=WHO,
)
EXECS = Metric(
    name="sonde.process.execs",
    kind="counter",
    unit="{exec}",
    description="Programs that processes began to run, by the name that they have then.",
    value="execs",
    attributes=WHO,
)
EXITS = Metric(
    name="sonde.process.exits",
    kind="counter",
    unit="{process}",
    description="Processes that ended, by their exit code or the signal that killed them.",
    value="exits",
    attributes=HOW,
)
LIFETIME = durations("sonde.process.lifetime", "How long processes lived that ended.", WHO, column="lifetime")

PROBE = Probe(
    name="processes",
    summary="processes that begin, run a program, and end",
    tables=(
        Table(
            name="events",
            map="events",
            other="events_other",
            programs=PROGRAMS["events"],
            summary="how many began, ran a program, and ended how, by name and cgroup",
            counted=("forks", "execs", "exits"),
            sort="execs",
            columns=("comm", "place", "exit", "forks", "execs", "exits"),
            enrich=_key_enrichers,
            metrics=(FORKS, EXECS, EXITS),
            cost_ns=622,
            counting=PROGRAMS["events"],
        ),
        Table(
            name="lifetimes",
            map="lifetimes",
            other="lifetimes_other",
            programs=PROGRAMS["lifetimes"],
            summary="how long those lived that ended, by name, cgroup and end",
            flag="--lifetimes",
            counted=("lifetime_buckets",),
            sort="exits",
            columns=(
                "comm",
                "place",
                "exit",
                "exits",
                "lifetime_sum_ns",
                "lifetime_p50_ns",
                "lifetime_p99_ns",
                "lifetime_max_ns",
            ),
            enrich=_lifetimes_enrichers,
            metrics=(LIFETIME,),
            cost_ns=909,
        ),
    ),
    streams=(
        Stream(
            name="lifecycle",
            map="lifecycle",
            programs=PROGRAMS["lifecycle"],
            summary="each process that begins, runs a program, or ends, with who it is",
            columns=(
                "time",
                "event",
                "pid",
                "ppid",
                "uid",
                "comm",
                "exit",
                "lifetime_ns",
                "executable",
                "place",
            ),
            enrich=_stream_enrichers,
            cost_ns=1404,
            counting=PROGRAMS["lifecycle"],
        ),
    ),
    knobs=(
        Knob(
            "cgroups",
            "cgroups that are made and processes that move to one are events, too",
            bool,
            symbol="with_cgroups",
            outputs=("lifecycle",),
        ),
    ),
    variants=(Variant("tp_btf"), Variant("raw_tp", types=RAW)),
    unattended=("events",),
)
