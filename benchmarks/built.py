"""What the benchmarks compile for themselves, with the project's own compilers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "benchmarks"


def floor_object() -> bytes:
    """Compile floor.bpf.c as the product's objects are compiled."""
    sys.path.insert(0, str(ROOT / "tools"))
    from sonde_build import extension
    from sonde_build.objects import build_all

    (path,) = build_all(extension.object_builder(), [HERE / "floor.bpf.c"], into=BUILD)
    return path.read_bytes()


def storm(name: str = "storm", *flags: str) -> Path:
    """Compile storm.c, or another of its kind."""
    BUILD.mkdir(parents=True, exist_ok=True)
    program = BUILD / name
    subprocess.run(["cc", "-O2", *flags, "-o", str(program), str(HERE / f"{name}.c")], check=True)
    return program
