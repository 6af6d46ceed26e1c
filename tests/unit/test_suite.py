"""The suite's two lanes: their sum, and when it has failed."""

from __future__ import annotations

from collections import Counter

import pytest

import suite

SAID = """\
tests/unit/test_a.py ....F [100%]
= short test summary info =
FAILED tests/unit/test_a.py::test_b - assert 7 passed in 3s
=========== 1 failed, 3614 passed, 109 skipped, 2 deselected, 2 warnings, 1 error in 796.40s (0:13:16) ===
"""


def test_the_closing_line_is_read_and_what_was_left_to_the_other_lane_is_not_counted() -> None:
    assert suite.counts_of(SAID) == {"failed": 1, "passed": 3614, "skipped": 109, "warning": 2, "error": 1}
    assert suite.counts_of("Segmentation fault") == Counter()
    assert suite.counts_of("===== no tests ran in 0.01s =====") == Counter()
    assert suite.counts_of("===== 3 passed in 0.01s =====") == {"passed": 3}


def test_the_sum_is_said_in_pytests_words() -> None:
    counts = suite.counts_of(SAID) + Counter({"passed": 6, "error": 1})

    assert (
        "= 1 failed, 3620 passed, 109 skipped, 2 errors, 2 warnings in 61.50s (0:01:01) ="
        in suite.closing_line(counts, 61.5)
    )


@pytest.mark.parametrize(
    ("status", "counts", "failed"),
    [
        (0, {"passed": 3}, False),
        (0, {"skipped": 3}, False),
        (1, {"failed": 1, "passed": 2}, True),
        (5, {}, False),  # the arguments have left this lane nothing
        (0, {}, True),  # it says that all is well, and not of what
        (2, {"passed": 3}, True),  # interrupted
        (-11, {}, True),
    ],
)
def test_a_lane_that_did_not_come_to_its_end_has_failed(
    *, status: int, counts: dict[str, int], failed: bool
) -> None:
    assert suite.has_failed(status, Counter(counts)) == failed
