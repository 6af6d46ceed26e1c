"""What a test run in a guest came to, read from its JUnit file."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LINES_PER_FAILURE_MAX = 60


@dataclass(frozen=True)
class Failure:
    """A test that failed, or that could not be set up: its name and what pytest said."""

    test: str
    text: str


@dataclass(frozen=True)
class Report:
    """One kernel's results; a run that broke off counts as one failure more."""

    kernel: str
    seconds: float
    passed: int
    failures: tuple[Failure, ...]
    skips: tuple[tuple[str, int], ...]
    """Each reason for skipping, with the number of tests that gave it."""

    @property
    def failed(self) -> int:
        return len(self.failures)

    @property
    def skipped(self) -> int:
        return sum(count for _, count in self.skips)

    def lines(self) -> Iterator[str]:
        """The results for a person: one line for the kernel, one for each skip reason, each failure in full."""
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        yield f"Linux {self.kernel:<6}{counts} in {self.seconds:.0f} s"
        for reason, count in self.skips:
            yield f"  skipped {count}: {reason}"
        for failure in self.failures:
            yield f"  FAILED {failure.test}"
            yield from (f"    {line}" for line in failure.text.splitlines()[-LINES_PER_FAILURE_MAX:])


def read(kernel: str, results: Path, *, status: int, seconds: float, said: str) -> Report:
    """The report of a run from its JUnit file, its exit status and what it said.

    pytest's status is 0 or 1 when it came to its end with tests to run; any other is a failure of the run itself.
    """
    cases = list(ElementTree.parse(results).getroot().iter("testcase")) if results.exists() else []
    failures, skips = [], Counter[str]()
    passed = 0
    for case in cases:
        name = f"{case.get('classname')}::{case.get('name')}"
        broken = [*case.findall("failure"), *case.findall("error")]
        skipped = case.find("skipped")
        if broken:
            failures.append(
                Failure(name, "\n".join(part.text or part.get("message") or "" for part in broken))
            )
        elif skipped is not None:
            skips[skipped.get("message") or "no reason given"] += 1
        else:
            passed += 1
    if status not in (0, 1) or not cases or (status == 1 and not failures):
        failures.append(Failure(f"the run ended with status {status}, {len(cases)} tests reported", said))
    return Report(kernel, seconds, passed, tuple(failures), tuple(sorted(skips.items())))
