"""Some calls only, on the real kernel: totals, and what they stand for."""

from __future__ import annotations

import itertools
import os

import pytest

from sonde.errors import KnobError
from sonde.probe import Selection
from sonde.probes import probe
from sonde.probes.syscalls.child import SYSCALLS, TABLES, WORKLOAD, assert_counted, child, counts, measured
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]


def test_sampled_calls_are_accounted_for() -> None:
    """One in ten is counted, the others are sampled out, and the batch says what a count stands for."""
    batch, _ = measured(WORKLOAD, "2", "10007", values={"sample": 10})

    accounting = batch.accounting
    assert 10 == batch.scale
    assert accounting.balanced, str(accounting)
    kept = counts(batch)["getppid", None]
    # Binomial: five standard deviations of 20,014 draws at 1/10 are 212.
    assert abs(kept - 2001.4) < 250
    assert accounting.sampled_out > 8 * kept


@pytest.mark.parametrize("name", ["syscalls", "runqueue"])
def test_a_sample_of_none_is_refused(name: str) -> None:
    """One event in zero cannot be; it would count all and say that it has not."""
    with pytest.raises(KnobError, match=f"set sample of probe {name}: 0 is no sample: 1 is all"):
        Run(probe(name), values={"sample": 0}).start()


# ---- thinned while it runs -----------------------------------------------------------------------------------------

GETPPID = {"syscall": ("getppid",)}
CALLS = (
    "import threading\n"
    "def calls():\n    for _ in range(5003): os.getppid()\n"
    "threads = [threading.Thread(target=calls) for _ in range(4)]\n"
    "for thread in threads: thread.start()\n"
    "for thread in threads: thread.join()"
)
TWO_PHASES = (
    "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    "for _ in range(5003): os.getppid()\n"
    "print(flush=True); sys.stdin.readline()\n"
    "for _ in range(5009): os.getppid()"
)


@pytest.mark.parametrize("table", TABLES)
def test_totals_are_right_while_the_factor_changes(table: str) -> None:
    """4 × 5,003 calls are counted, or left out with none yet that stands for them, whatever the factor was and when."""
    with (
        child(CALLS) as started,
        Run(SYSCALLS, table, selection=Selection(pid=started.pid), values=GETPPID) as run,
    ):
        # Whichever holds while nobody runs this loop: some are left out.
        factors = itertools.cycle((8, 2, 64, 3))
        run.set_variable("thin_every", next(factors))
        started.go()
        while started.process.poll() is None:
            run.set_variable("thin_every", next(factors))
        run.stop()
        batch = run.read()

    accounting = batch.accounting
    assert accounting.balanced, str(accounting)
    missing = 4 * 5003 - (sum(counts(batch).values()) + accounting.sampled_out)
    assert 0 <= missing <= accounting.lost["recursion"]
    assert accounting.notes["represented"] > 0


@pytest.mark.parametrize("table", TABLES)
def test_the_first_call_after_thinning_stands_for_the_last_left_out(table: str) -> None:
    """On one CPU 5,003 thinned calls and 5,009 whole ones are 10,012, with nothing left out in the end."""
    with (
        child(TWO_PHASES) as started,
        Run(SYSCALLS, table, selection=Selection(pid=started.pid), values=GETPPID) as run,
    ):
        run.set_variable("thin_every", 8)
        started.go()
        assert started.process.stdout is not None
        started.process.stdout.readline()
        thinned = run.read()
        run.set_variable("thin_every", 1)
        started.go()
        started.finish()
        run.stop()
        batch = run.read()

    assert 0 < thinned.accounting.notes["represented"] <= 5003
    # What a later call stands for was not seen yet, for who takes no figure that goes back.
    assert 0 == thinned.accounting.settled.sampled_out <= batch.accounting.settled.sampled_out
    assert thinned.accounting.settled.balanced, str(thinned.accounting)
    assert_counted({("getppid", None): 5003 + 5009}, batch)
    assert 0 == batch.accounting.sampled_out
    assert batch.accounting.balanced, str(batch.accounting)


@pytest.mark.parametrize("table", TABLES)
def test_each_row_of_a_thinned_table_is_an_estimate(table: str) -> None:
    """Of three kinds of calls one in eight is taken; each kind's count is near to what was made."""
    with (
        child(WORKLOAD, "4", "10007") as started,
        Run(SYSCALLS, table, selection=Selection(pid=started.pid)) as run,
    ):
        run.set_variable("thin_every", 8)
        started.go()
        started.finish()
        run.stop()
        batch = run.read()

    accounting = batch.accounting
    assert accounting.balanced, str(accounting)
    assert 1 == batch.scale
    assert 7 * accounting.aggregated < 8 * accounting.notes["represented"] * 1.1
    by_name: dict[str, int] = {}
    for (name, _), count in counts(batch).items():
        by_name[name] = by_name.get(name, 0) + count
    # What a taken call stands for varies as a geometric distribution does: the standard deviation is √(2 · 8 · 40,028) = 800.
    for name in ("getppid", "sched_yield"):
        assert abs(by_name[name] - 4 * 10007) < 6 * 800 + accounting.lost["recursion"]


def test_what_goes_round_in_a_loop_is_thinned_evenly() -> None:
    """Four calls in turn, one in four taken: each is, where a counter would always take the same one."""
    code = (
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "for _ in range(10007): os.getppid(); os.getuid(); os.geteuid(); os.getgid()"
    )
    names = ("getppid", "getuid", "geteuid", "getgid")
    with (
        child(code) as started,
        Run(SYSCALLS, "counts", selection=Selection(pid=started.pid), values={"syscall": names}) as run,
    ):
        run.set_variable("thin_every", 4)
        started.go()
        started.finish()
        run.stop()
        batch = run.read()

    found = counts(batch)
    # √(2 · 4 · 10,007) = 283.
    lost = batch.accounting.lost["recursion"]
    assert all(abs(found[name, None] - 10007) < 6 * 283 + lost for name in names), found
    assert batch.accounting.balanced, str(batch.accounting)


def test_what_stands_for_others_is_filtered_for_them_too() -> None:
    """Only errors, thinned: a call without error that is taken is filtered as often as it counts."""
    with (
        child(WORKLOAD, "4", "5003") as started,
        Run(SYSCALLS, selection=Selection(pid=started.pid), values={"errors": True}) as run,
    ):
        run.set_variable("thin_every", 4)
        started.go()
        started.finish()
        run.stop()
        batch = run.read()

    assert batch.accounting.balanced, str(batch.accounting)
    # √(2 · 4 · 20,012) = 400.
    assert abs(counts(batch)["close", "EBADF"] - 4 * 5003) < 6 * 400 + batch.accounting.lost["recursion"]


def test_durations_count_as_often_as_their_calls() -> None:
    """The sum of durations is thinned and weighted as the count is."""
    # Python's own sleep is until a moment that it has fixed before the call: the call itself may be shorter.
    code = "import signal\nfor _ in range(211): signal.sigtimedwait([signal.SIGUSR1], 0.001)"
    with child(code) as started:
        selection = Selection(pid=started.pid)
        with Run(SYSCALLS, selection=selection, values={"syscall": ("rt_sigtimedwait",)}) as run:
            run.set_variable("thin_every", 4)
            started.go()
            started.finish()
            run.stop()
            batch = run.read()

    (row,) = batch.rows()
    assert 211 - batch.accounting.lost["recursion"] <= row["count"] + batch.accounting.sampled_out <= 211
    assert row["count"] * 1_000_000 <= row["duration_sum_ns"] <= row["count"] * row["duration_max_ns"]


def test_a_thinned_stream_says_what_it_left_out() -> None:
    """A record is one call: those left out are sampled out for good."""
    with (
        child(CALLS) as started,
        Run(SYSCALLS, "calls", selection=Selection(pid=started.pid), values=GETPPID) as run,
    ):
        run.set_variable("thin_every", 16)
        delivered = len(run.read())
        started.go()
        started.finish()
        run.stop()
        while len(batch := run.read()):
            delivered += len(batch)
        accounting = run.read().accounting

    assert delivered == accounting.delivered
    missing = 4 * 5003 - (delivered + accounting.sampled_out + accounting.lost["ring_full"])
    assert 0 <= missing <= accounting.lost["recursion"]
    assert delivered < 4 * 5003 / 4
    assert accounting.balanced, str(accounting)
