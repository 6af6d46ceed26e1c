"""Whom a process has started, and they in turn: from /proc, with and without lists of children."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sonde.enrich import descendants as module
from sonde.enrich.descendants import descendants

FAMILY = """
import subprocess, sys, threading
def start():
    program = "import time; print(end='.', flush=True); time.sleep(60)"
    started.append(subprocess.Popen([sys.executable, "-c", program]))
started = []
start()
thread = threading.Thread(target=lambda: (start(), threading.Event().wait()), daemon=True)
thread.start()
sys.stdin.read()
for each in started:
    each.kill()
    each.wait()
"""


@pytest.fixture
def family() -> Iterator[subprocess.Popen[str]]:
    """A process with two children, the second of which a thread of it has started."""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", FAMILY], text=True, **options) as process:  # type: ignore[call-overload]
        assert process.stdout.read(2) == ".."
        yield process
        process.stdin.close()


@pytest.mark.parametrize("are_told", [True, False], ids=["lists of children", "none"])
def test_all_are_found_each_before_those_that_it_started(
    family: subprocess.Popen[str], *, are_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if are_told and not module._are_told():
        pytest.skip("this kernel lists no children (CONFIG_PROC_CHILDREN)")
    monkeypatch.setattr(module, "_are_told", lambda: are_told)
    found = list(descendants(os.getpid()))

    assert found[0] == os.getpid()
    at = found.index(family.pid)
    assert len(set(found)) == len(found)
    theirs = list(descendants(family.pid))
    assert len(theirs) == 3
    assert all(found.index(pid) > at for pid in theirs[1:])


def test_a_process_that_has_ended_is_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
        assert list(descendants(ended.pid)) == [ended.pid]
