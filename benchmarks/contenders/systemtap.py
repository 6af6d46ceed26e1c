"""SystemTap where the running kernel has no headers: does it compile at all, for a kernel of Debian's that has."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

NAME = "SystemTap, for Debian's kernel"
LIMIT_S = 120


def for_debians_kernel() -> str:
    """Compile an empty probe for the newest of Debian's kernels whose headers are here; gives what came of it."""
    releases = sorted(path.parent.name for path in Path("/lib/modules").glob("*/build"))
    if shutil.which("stap") is None or not releases:
        return "stap, or headers of a kernel of Debian's, are not installed"
    command = ["stap", "-v", "-r", releases[-1], "-p4", "-e", "probe begin { exit() }"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd="/tmp")
    if done.returncode == 0:
        return f"a probe compiles for {releases[-1]}, and this kernel does not load modules of another"
    found = re.search(r"^.*\berror: .*$", done.stdout + done.stderr, re.MULTILINE)
    return f"for {releases[-1]} it ended with status {done.returncode} and said: {found[0] if found else 'nothing'}"
