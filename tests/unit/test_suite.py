"""The suite's two lanes: their sum, and when it has failed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

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
    assert suite.has_failed(status, Counter(counts), chosen=True) == failed


def test_a_lane_without_tests_has_failed_where_none_were_chosen() -> None:
    assert suite.has_failed(5, Counter(), chosen=False)


@pytest.mark.parametrize(
    ("tests", "arguments", "status"),
    [
        ("def test(): pass", [], 1),  # one lane is empty
        ("def test(): pass", ["-k", "test"], 0),
        ("def test(): pass", ["-k", "nowhere"], 1),
        ("def test(): assert False", ["-k", "test"], 1),
        ("import os\ndef test(): os._exit(0)", ["-k", "test"], 1),
        ("import os\ndef test(): os.kill(os.getpid(), 9)", ["-k", "test"], 1),
        ("import nowhere", ["-k", "test"], 1),
        ("import time\ndef test(): pass\ntime.sleep(600)", ["-k", "test"], 1),
    ],
)
def test_the_suite_fails_with_a_lane_that_fails_breaks_hangs_or_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, tests: str, arguments: list[str], status: int
) -> None:
    (tmp_path / "test_it.py").write_text(tests)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n kernel:\n beside:\n")
    monkeypatch.setattr(suite, "ROOT", tmp_path)
    monkeypatch.setattr(suite, "RESULTS", tmp_path)
    if "sleep" in tests:
        monkeypatch.setattr(suite, "LANE_SECONDS_MAX", 3)

    assert suite.main(arguments) == status
