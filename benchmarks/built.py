"""What the benchmarks compile for themselves, with the project's own compilers; each is compiled when its source changed."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
WORK = HERE / "workloads"
BUILD = ROOT / "build" / "benchmarks"


@cache
def bpf_object(name: str) -> Path:
    """Compile a program, named by its path from this folder, as the product's objects are compiled."""
    sys.path.insert(0, str(ROOT / "tools"))
    from sonde_build import extension
    from sonde_build.objects import build_all

    (path,) = build_all(extension.object_builder(), [HERE / f"{name}.bpf.c"], into=BUILD)
    return path


@cache
def storm(name: str = "storm", *flags: str) -> Path:
    """Compile storm.c, or another of its kind."""
    BUILD.mkdir(parents=True, exist_ok=True)
    program, source = BUILD / name, WORK / f"{name}.c"
    newest = max(path.stat().st_mtime for path in (source, WORK / "clock.h"))
    if not program.exists() or program.stat().st_mtime < newest:
        # Whoever runs the old one keeps it.
        made = program.with_suffix(f".{os.getpid()}")
        subprocess.run(["cc", "-O2", "-pthread", *flags, "-o", str(made), str(source)], check=True)
        made.rename(program)
    return program
