"""What is said on stderr where nobody can hear it."""

from __future__ import annotations

import os
import subprocess
import sys

SAYING = """
import sys
from sonde.cli.standard_streams import is_heard, say
sys.stdin.readline()
say("one")
say("two")
print("the work went on", is_heard())
"""


def said_to(stderr: str) -> subprocess.CompletedProcess[str]:
    """Run it with this redirection of stderr, as a shell does it."""
    command = ["sh", "-c", f'exec "$@" {stderr}', "sh", sys.executable, "-c", SAYING]
    return subprocess.run(command, input="\n", capture_output=True, text=True, timeout=60, check=False)


def test_it_is_said() -> None:
    done = said_to("")
    assert (done.returncode, done.stdout, done.stderr) == (0, "the work went on False\n", "one\ntwo\n")


def test_a_full_disk_is_not_the_end() -> None:
    """Neither then nor when Python flushes at its exit, which gives 120 where it cannot."""
    done = said_to("2> /dev/full")
    assert (done.returncode, done.stdout) == (0, "the work went on False\n")


def test_nothing_is_said_into_the_output_where_stderr_is_closed() -> None:
    done = said_to("2>&-")
    assert (done.returncode, done.stdout) == (0, "the work went on False\n")


def test_a_terminal_that_has_gone_is_not_the_end() -> None:
    parent, child = os.openpty()
    made = subprocess.Popen(
        [sys.executable, "-c", SAYING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=child, text=True
    )
    os.close(child)
    os.close(parent)
    out, _ = made.communicate("\n", timeout=60)
    assert (made.returncode, out) == (0, "the work went on False\n")
