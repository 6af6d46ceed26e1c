"""Truncated, bit-flipped and oversized ELF objects by the thousand: an error of ours, never a crash."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernel.effort import effort
from kernel.plain import shape
from sonde.bpf import ObjectSpec
from sonde.errors import UnsafeObjectError

pytestmark = pytest.mark.beside

SOURCES = ("globals", "kconfig", "maps_in_maps", "structs", "subprograms", "many_types", "legacy_maps")
# What is fuzzed most is user space, the same in every guest.
SOURCES = SOURCES[: effort(len(SOURCES), emulated=2)]
CASES_PER_SOURCE = effort(800, emulated=50)
SECONDS_MAX = 300


def run(path: Path, first: int, count: int) -> collections.Counter[str]:
    """Work through cases in a process of its own, which may not leave pins; what came of them.

    Fails with the number of the case that ended the process.
    """
    command = [
        "unshare",
        "--mount",
        sys.executable,
        "-m",
        "kernel.fuzzing",
        str(path),
        str(first),
        str(count),
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, env=environment)
    except subprocess.TimeoutExpired as expired:
        pytest.fail(f"{path.name}: no end: {(expired.stdout or b'')[-40:]!r}")
    lines = result.stdout.splitlines()
    if result.returncode != 0:
        pytest.fail(f"{path.name}: {lines[-1]} ended with {result.returncode}: {result.stderr[-2000:]}")
    assert result.stderr == ""
    came = [line.split(" ", 2)[2].split(",")[0] for line in lines if line.startswith("came ")]
    assert len(came) == count
    return collections.Counter(came)


@pytest.mark.parametrize("source", SOURCES)
def test_broken_objects_raise_errors_of_ours(source: str) -> None:
    """Opened, read in full and loaded: refused by us, by libbpf or by the kernel, or harmless; nothing else."""
    came = run(shape(source), 0, CASES_PER_SOURCE)
    # Some must come through each stage, or the next one is not tested.
    assert came["UnsafeObjectError"] > CASES_PER_SOURCE // 10
    assert came.total() - came["UnsafeObjectError"] - came["LayoutError"] > CASES_PER_SOURCE // 10


def test_every_truncation_of_an_object_is_refused() -> None:
    """No beginning of an object is an object: the section headers stand at its end."""
    data = shape("many_types").read_bytes()
    for length in range(0, len(data), 13):
        with pytest.raises(UnsafeObjectError) as caught:
            ObjectSpec.open(data[:length])
        assert caught.value.cause == "format"


def test_oversized_file_is_refused_unread(tmp_path: Path) -> None:
    """A sparse file of a terabyte costs nothing."""
    path = tmp_path / "large.bpf.o"
    path.touch(0o644)
    os.truncate(path, 1 << 40)
    with pytest.raises(UnsafeObjectError, match="bound") as caught:
        ObjectSpec.open(path)
    assert caught.value.cause == "size"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is no ELF file"),
        (b"#!/bin/sh\n" * 100, "it is no ELF file"),
        (Path("/bin/true").read_bytes(), "it is no BPF object but a program or library"),
    ],
    ids=["empty", "script", "program"],
)
def test_what_is_no_object_is_said_to_be_none(data: bytes, why: str) -> None:
    """One sentence, and how to make one."""
    with pytest.raises(UnsafeObjectError) as caught:
        ObjectSpec.open(data, name="it")
    assert caught.value.why == why
    assert "clang -target bpf" in caught.value.hint


def test_other_byte_order_is_named() -> None:
    """An object for the other kind of machine is a common mistake of cross compilers."""
    data = bytearray(shape("globals").read_bytes())
    data[5] ^= 3
    with pytest.raises(UnsafeObjectError, match="other byte order") as caught:
        ObjectSpec.open(bytes(data))
    assert "-target bpfe" in caught.value.hint
