"""Something of everything for a profile of a whole machine: C, C++, Python, compilers, short processes, many names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import built
from benchmarks.contenders.lifetime import with_us_within

sys.path.insert(0, str(built.ROOT / "tests"))
from kernel.profiled import programs

LIBRARY = "import asyncio, email.mime.text, http.client, json, unittest, xml.dom.minidom; json.loads(json.dumps(list(range(20000))))"

SECONDS_MAX = 3600


@contextmanager
def mixed_load() -> Iterator[None]:
    """Keep all CPUs busy for the time of a block."""
    compiling = ["g++", "-O2", "-g", "-S", "-o", "/dev/null", str(programs.HERE / "shares.cpp")]
    commands = [
        [*programs.pie().command, str(SECONDS_MAX)],
        [*programs.cplusplus().command, str(SECONDS_MAX)],
        ["sh", "-c", 'while :; do "$@"; done', "sh", sys.executable, "-c", LIBRARY],
        ["sh", "-c", 'while :; do "$@"; done', "sh", *compiling],
    ]
    # A session each: what a shell starts ends with it.
    started = [
        subprocess.Popen(
            [*with_us_within(SECONDS_MAX), *command], stdout=subprocess.DEVNULL, start_new_session=True
        )
        for command in commands
    ]
    try:
        yield
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
