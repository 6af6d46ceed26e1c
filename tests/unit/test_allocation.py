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
from sonde.cli.allocation import give_back_large_blocks

def heap_kb():
    found, is_heap = 0, False
    for line in open("/proc/self/smaps"):
        is_heap = line.rstrip().endswith("[heap]") or is_heap and "-" not in line.split()[0]
        found += int(line.split()[1]) if is_heap and line.startswith("Rss:") else 0
    return found

if sys.argv[1] == "given back":
    give_back_large_blocks()
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


@pytest.mark.parametrize(("how", "is_kept"), [("given back", False), ("as glibc does it", True)])
def test_large_blocks_are_given_back_when_they_are_freed(how: str, *, is_kept: bool) -> None:
    """Also behind one that was larger, and where something small lies between them."""
    told = subprocess.run([sys.executable, "-c", BLOCKS, how], capture_output=True, text=True, check=True)

    assert is_kept == (int(told.stdout) > 1000), told.stdout
