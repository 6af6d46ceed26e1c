"""How much is done: all rounds or a few, all contenders or some; and the command line of a single part."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Part, printed

CLONE_NEWNS = 0x20000


@dataclass(frozen=True)
class Options:
    """``quick`` runs one round of little; ``only`` names contenders by parts of their names."""

    quick: bool = False
    only: tuple[str, ...] = ()
    rounds_wanted: int = 0

    def rounds(self, usual: int) -> int:
        """Give the rounds of a benchmark."""
        return self.rounds_wanted or (1 if self.quick else usual)

    def of(self, usual: int, quick: int) -> int:
        """Give a size."""
        return quick if self.quick else usual

    def wants(self, name: str) -> bool:
        """Tell whether a contender is measured; the first of all always is, for others are compared to it."""
        return not self.only or name == "no tracer" or any(each in name for each in self.only)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Make the parser that every part's command has."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and less in each")
    parser.add_argument("--rounds", type=int, default=0, help="so many rounds")
    parser.add_argument("--only", default="", help="contenders, by parts of their names, with commas between")
    return parser


def options(parsed: argparse.Namespace) -> Options:
    """Take the options from what was parsed."""
    return Options(parsed.quick, tuple(filter(None, parsed.only.split(","))), parsed.rounds)


def run_part(measure: Callable[[Options], list[Part]], description: str | None) -> None:
    """Run one part from the command line and print it."""
    parsed = arguments(description).parse_args()
    heed_ctrl_c()
    own_tracefs()
    for part in measure(options(parsed)):
        print(printed(part))


def run_report(report: Callable[[Options], None], description: str | None) -> None:
    """Run from the command line what is no part of the comparison, and prints what it finds."""
    parsed = arguments(description).parse_args()
    heed_ctrl_c()
    report(options(parsed))


def heed_ctrl_c() -> None:
    """Take back what a shell does to what it starts in the background: to ignore Ctrl-C, which every tool would inherit.

    An end that is asked for otherwise is the same: tools that are running are ended, for else they would trace what comes next.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def own_tracefs() -> None:
    """Mount tracefs where tools look for it, if it is not there, in a mount namespace that ends with this process.

    Ends the process where it is not root, who alone can do that, and reads tracefs.
    """
    if os.geteuid() != 0:
        sys.exit("benchmarks: they load programs into the kernel and read tracefs: run them as root")
    if Path("/sys/kernel/tracing/events").exists():
        return
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "a mount namespace of our own: run as root")
    for command in ("mount --make-rprivate /", "mount -t tracefs tracefs /sys/kernel/tracing"):
        subprocess.run(command.split(), check=True)
