"""The table ``counts`` on the real kernel: calls only, counted when they begin."""

from __future__ import annotations

import os

import pytest

from sonde.errors import KnobError
from sonde.probes.syscalls.child import SYSCALLS, WORKLOAD, assert_counted, counts, measured
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
