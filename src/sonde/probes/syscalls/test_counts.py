"""The table ``counts`` on the real kernel: calls only, counted when they begin."""

from __future__ import annotations

import os

import pytest

from sonde.errors import KnobError
from sonde.probe import Selection
from sonde.probes.syscalls.child import SYSCALLS, WORKLOAD, assert_counted, child, counts, measured
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]


def test_a_prime_count_from_eight_threads_is_exact_counted_at_entry() -> None:
    """The same, count-only: without errnos and durations."""
    batch, _ = measured(WORKLOAD, "8", "10007", table="counts")

    assert_counted({("getppid", None): 8 * 10007}, batch)
    assert 8 * 10007 - batch.accounting.lost["recursion"] <= counts(batch)["close", None]
    assert batch.accounting.balanced, str(batch.accounting)
    assert {None} == {row["duration_sum_ns"] for row in batch.rows()}
    assert {None} == {row["error"] for row in batch.rows()}


def test_errors_cannot_be_told_at_entry() -> None:
    """Count-only and errors together are refused, with what to do."""
    with pytest.raises(KnobError, match="count-only"):
        Run(SYSCALLS, "counts", values={"errors": True}).start()


def test_what_is_added_to_other_alone_counts_where_differences_are_taken() -> None:
    """The one row there is room for is getppid's; behind the first reading there are other calls only."""
    code = "for _ in range(101): os.getppid()\nprint('done', flush=True)\nsys.stdin.readline()"
    values = {"syscall": ("getppid", "exit_group")}
    with (
        child(code) as started,
        Run(
            SYSCALLS,
            "counts",
            selection=Selection(pid=started.pid),
            values=values,
            max_entries=1,
            differences=True,
        ) as run,
    ):
        started.go()
        assert started.process.stdout is not None
        assert started.process.stdout.readline() == "done\n"
        assert list(run.read()["count"]) == [101]
        started.go()
        started.finish()
        run.stop()
        batch = run.read()
    assert (batch["is_other"].tolist(), batch["count"].tolist()) == ([True], [1])
    assert batch.accounting.aggregated == 102
    assert batch.accounting.balanced, str(batch.accounting)
