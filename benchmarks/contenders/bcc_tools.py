"""BCC's Python tools: they compile C when they start, against headers of the kernel that runs.

This kernel may have no headers. Debian's of another version do for programs that look at tracepoints alone; BCC wants them
in one folder, where Debian has two, so that folder is made of links. Structures of the kernel may differ in them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from benchmarks.built import BUILD
from benchmarks.contenders.contender import Session, running


@contextmanager
def tool(name: str, *arguments: str) -> Iterator[Session]:
    """Run a tool as Debian names it."""
    with running(f"{name}-bpfcc", *arguments, environment=environment()) as session:
        yield session


@contextmanager
def script(path: Path, *arguments: str) -> Iterator[Session]:
    """Run a script of ours with Debian's Python, which has BCC's module."""
    with running("/usr/bin/python3", str(path), *arguments, environment=environment()) as session:
        yield session


def environment() -> dict[str, str]:
    """Give what BCC has to be told: nothing where the kernel's own headers are there."""
    if Path(f"/lib/modules/{os.uname().release}/build").exists():
        return {}
    headers = merged_headers()
    return {"BCC_KERNEL_SOURCE": str(headers)} if headers else {}


@cache
def merged_headers() -> Path | None:
    """Link Debian's two folders of headers into one; None where there are none."""
    own = sorted(Path("/usr/src").glob("linux-headers-*-amd64")) + sorted(
        Path("/usr/src").glob("linux-headers-*-arm64")
    )
    if not own:
        return None
    shared = Path(f"{str(own[-1]).rpartition('-')[0]}-common")
    merged = BUILD / own[-1].name
    if not merged.exists():
        merged.mkdir(parents=True)
        for folder in (shared, own[-1]):
            subprocess.run(["cp", "-rsf", f"{folder}/.", str(merged)], check=True, stderr=subprocess.DEVNULL)
    return merged
