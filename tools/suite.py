"""Run the whole test suite in two lanes; `make test` calls this.

    python3 tools/suite.py
    python3 tools/suite.py -k ring -x

The kernel tests run one after the other, for there is one kernel, and what they measure is the whole machine's. Most of
their time is waiting: beside them runs what asks nothing of the kernel, and what is marked `beside`. Arguments go to
both lanes' pytest. What the first lane says is shown as it comes, what the second says when it has ended; the last line
is the sum of both. Exits with 0 when all of both passed or was skipped, and neither lane was empty where nothing was chosen.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "build" / "test-results"
LANES = {"kernel": "kernel and not beside", "beside": "not kernel or beside"}
"""Each test is in exactly one."""

NOTHING_CHOSEN = 5
"""pytest's status where there is no test, or the arguments leave none."""

WITH_US = ("setpriv", "--pdeathsig", "INT")
"""A lane whose suite is killed is interrupted, and ends in its own order."""

LANE_SECONDS_MAX = 2 * 3600
"""Each test has its own bound; what hangs between them, or at the end, is killed after several times what all take."""

WORDS = ("failed", "passed", "skipped", "xfailed", "xpassed", "error", "warning")
CLOSING = re.compile(r"^=+ (?P<counts>.*) in [0-9.]+s\b.*=+$", re.MULTILINE)
COUNT = re.compile(r"(\d+) ([a-z]+?)s?(?:,|$)")


@dataclass(frozen=True)
class Lane:
    """A pytest that runs; what it says is in a file too."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        """All that it has written."""
        return self.log.read_text(errors="replace")


def counts_of(said: str) -> Counter[str]:
    """How many tests came to what, by pytest's closing line; empty where there is none."""
    lines = CLOSING.findall(said)
    if not lines:
        return Counter()
    return Counter({word: int(number) for number, word in COUNT.findall(lines[-1]) if word in WORDS})


def closing_line(counts: Counter[str], seconds: float) -> str:
    """The sum, in pytest's words."""
    told = [
        f"{counts[word]} {word}{'s' if word in ('error', 'warning') and counts[word] > 1 else ''}"
        for word in WORDS
        if counts[word]
    ]
    text = f" {', '.join(told) or 'no tests ran'} in {seconds:.2f}s ({timedelta(seconds=int(seconds))}) "
    return text.center(100, "=")


def has_failed(status: int, counts: Counter[str], *, chosen: bool) -> bool:
    """Whether a lane failed; one that says that all is well without a closing line did not come to its end.

    One without tests has not where tests were ``chosen``, for they may all be the other's.
    """
    if status == NOTHING_CHOSEN:
        return not chosen
    return status != 0 or not counts.total()


def start(name: str, arguments: Sequence[str]) -> Lane:
    """Start a lane; what it says goes to its file alone."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    log = RESULTS / f"{name}.log"
    command = [*WITH_US, sys.executable, "-u", "-m", "pytest", "-m", LANES[name], *arguments]
    # Each has its own memory of what failed last.
    command += ["-o", f"cache_dir=.pytest_cache/{name}", "--junit-xml", str(RESULTS / f"{name}.xml")]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    return Lane(name, process, log)


def follow(lane: Lane, *, deadline: float) -> int:
    """Show what a lane says as it comes, to its end; its status. It is killed at the deadline, by the monotonic clock."""
    with lane.log.open("rb") as file:
        while True:
            status = lane.process.poll()
            if time.monotonic() > deadline:
                lane.process.kill()
            if text := file.read():
                write(text)
            elif status is not None:
                return status
            else:
                time.sleep(0.2)


def write(text: bytes) -> None:
    """Write to standard output at once."""
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


@contextmanager
def running(arguments: Sequence[str]) -> Iterator[list[Lane]]:
    """All lanes; one that still runs at the end is interrupted, as by Ctrl-C, and ends in its own order."""
    lanes: list[Lane] = []
    try:
        lanes += [start(name, arguments) for name in LANES]
        yield lanes
    finally:
        for lane in lanes:
            if lane.process.poll() is None:
                lane.process.send_signal(signal.SIGINT)
        for lane in lanes:
            lane.process.wait()


def main(arguments: Sequence[str]) -> int:
    """Run the suite; the exit status."""
    begun = time.monotonic()
    total: Counter[str] = Counter()
    failed = False
    with running(arguments) as lanes:
        for lane in lanes:
            status = follow(lane, deadline=begun + LANE_SECONDS_MAX)
            counts = counts_of(lane.said())
            if has_failed(status, counts, chosen=bool(arguments)):
                failed = True
                print(f"suite: lane {lane.name} ended with status {status}", flush=True)
            total += counts
    print(closing_line(total, time.monotonic() - begun), flush=True)
    return 1 if failed or not total else 0


if __name__ == "__main__":
    # A job in the background of a script ignores Ctrl-C, and would hand that on.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
