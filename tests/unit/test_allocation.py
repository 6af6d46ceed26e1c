"""Memory that was freed goes back, whatever was freed before."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason=f"no glibc here, but {platform.libc_ver()[0] or 'another libc'}"
)

BLOCKS = """
import sys
from sonde.cli.root import run

def heap_kb():
    found, is_heap = 0, False
    for line in open("/proc/self/smaps"):
        is_heap = line.rstrip().endswith("[heap]") or is_heap and "-" not in line.split()[0]
        found += int(line.split()[1]) if is_heap and line.startswith("Rss:") else 0
    return found

if sys.argv[1] == "sonde":
    run(["config", "example"])
first = bytearray(16 << 20)
del first
before = heap_kb()
tables, between = [], []
for _ in range(8):
    tables.append(bytearray(b"x" * (1 << 20)))
    between.append(bytearray(1000))
tables.clear()
print(heap_kb() - before)
"""


@pytest.mark.parametrize(("program", "is_kept"), [("sonde", False), ("another", True)])
def test_large_blocks_are_given_back_when_they_are_freed(program: str, *, is_kept: bool) -> None:
    """In a process that runs a command of sonde's: also behind one that was larger, and with something small between."""
    told = subprocess.run([sys.executable, "-c", BLOCKS, program], capture_output=True, text=True, check=True)

    grown_kb = int(told.stdout.splitlines()[-1])
    assert is_kept == (grown_kb > 1000), grown_kb


THREADS = """
import ctypes, sys, threading
from sonde.cli.root import run

if sys.argv[1] == "sonde":
    run(["config", "example"])
kept = []
for _ in range(3):
    thread = threading.Thread(target=lambda: kept.append(bytearray(b"x" * 100_000)))
    thread.start()
    thread.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.parametrize(("program", "is_shared"), [("sonde", True), ("another", False)])
def test_threads_allocate_from_one_heap(program: str, *, is_shared: bool) -> None:
    told = subprocess.run(
        [sys.executable, "-c", THREADS, program], capture_output=True, text=True, check=True
    )

    assert is_shared == (told.stderr.count("Arena ") == 1), told.stderr
