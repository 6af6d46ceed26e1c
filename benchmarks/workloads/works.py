"""Work that is traced: a storm of system calls, and programs as people run them; each tells what one unit of it took."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import built
from benchmarks.contenders.contender import WORK_CPU
from benchmarks.contenders.lifetime import WITH_US, with_us_within

PYTHON = os.path.realpath(sys.executable)
SHARED_MEMORY = Path("/dev/shm")
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""
INSERTS = """
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], isolation_level=None)
base.execute("create table if not exists t (number integer, text text)")
for number in range(int(sys.argv[2])):
    base.execute("insert into t values (?, ?)", (number, "x" * 100))
"""


@dataclass(frozen=True)
class Work:
    """Work under its key; ``measure`` does it behind a tool's prefix and gives what it took, in the unit."""

    key: str
    title: str
    unit: str
    measure: Callable[[list[str], int], float]
    missing: str = ""


def storm_ns(prefix: list[str], slow: int, *, kind: str, threads: int, calls: int) -> float:
    """Give nanoseconds of a call, the least of three storms; one thread stays on the last CPU."""
    pinned = ["taskset", "-c", str(WORK_CPU)] if threads == 1 else []
    command = [*prefix, *pinned, str(built.storm()), str(calls // slow // threads), kind, str(threads)]
    return min(
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(3)
    )


def storms(calls: int) -> list[Work]:
    """Loops of system calls, by one thread and by several."""
    tight = [
        Work(
            f"tight_{threads}",
            "getppid" if threads == 1 else f"getppid, {threads} threads",
            "ns",
            partial(storm_ns, kind="tight", threads=threads, calls=calls),
        )
        for threads in (1, 2, 8)
    ]
    mixed = Work("mixed", "a mixed call", "ns", partial(storm_ns, kind="mixed", threads=1, calls=calls // 2))
    return [tight[0], mixed, *tight[1:]]


def switch_ns(prefix: list[str], switches: int) -> float:
    """Give nanoseconds of CPU time of a switch between two processes that hand a byte to and fro on the last CPU."""
    pinned = ["taskset", "-c", str(WORK_CPU), str(built.storm("switches")), str(switches // 2)]
    return float(subprocess.check_output([*prefix, *pinned]))


def seconds_of(command: list[str]) -> float:
    """Run a command to its end, without its output; seconds that it took."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _interpreters(prefix: list[str], _: int, *, size: int) -> float:
    loop = f"i=0; while [ $i -lt {size} ]; do {PYTHON} -I -S -c pass; i=$((i+1)); done"
    return seconds_of([*prefix, "sh", "-c", loop]) / size * 1e3


def _inserts(prefix: list[str], slow: int, *, size: int) -> float:
    count = max(200, size // min(slow, 10))
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        spent = seconds_of([*prefix, PYTHON, "-I", "-S", "-c", INSERTS, f"{folder}/base", str(count)])
    return spent / count * 1e6


def _find(prefix: list[str], _: int) -> float:
    return seconds_of([*prefix, "find", "/usr/lib", "-xdev", "-size", "+1k", "-newer", "/etc/hostname"]) * 1e3


def _compile(prefix: list[str], _: int, *, size: int) -> float:
    source = built.WORK / "storm.c"
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        each = f"seq {size} | xargs -P {os.cpu_count()} -I N cc -O1 -c -o {folder}/N.o {source}"
        return seconds_of([*prefix, "sh", "-c", each]) / size * 1e3


def _requests(prefix: list[str], _: int, *, seconds: float) -> float:
    """Give microseconds of a request: nginx behind the prefix, wrk beside it."""
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        Path(folder).chmod(0o755)
        Path(folder, "index.html").write_text("x" * 612)
        port = _free_port()
        Path(folder, "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
        # The tool ends with this process, and nginx with the tool.
        serving = [*with_us_within(seconds + 60), "nginx", "-c", f"{folder}/nginx.conf"]
        server = subprocess.Popen([*WITH_US, *prefix, *serving], stderr=subprocess.DEVNULL)
        try:
            _await_file(Path(folder, "pid"))
            url = f"http://127.0.0.1:{port}/"
            command = ["wrk", "-t1", "-c16", f"-d{max(1, round(seconds))}s", url]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = re.search(r"Requests/sec:\s+([\d.]+)", told)
            assert found, told
            return 1e6 / float(found[1])
        finally:
            subprocess.run(["kill", Path(folder, "pid").read_text().strip()], check=False)
            server.wait(30)


def _free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


def _await_file(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text().strip()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{path} did not come")
        time.sleep(0.01)
    time.sleep(0.1)


def programs(*, quick: bool) -> list[Work]:
    """Programs as people run them."""
    lacking = [name for name in ("nginx", "wrk") if shutil.which(name) is None]
    found = [
        Work("python", "start of CPython", "ms", partial(_interpreters, size=10 if quick else 20)),
        Work("sqlite", "SQLite insert", "µs", partial(_inserts, size=2_000 if quick else 10_000)),
        Work("find", "find over /usr/lib", "ms", _find),
        Work("compile", "compiling a file, parallel", "ms", partial(_compile, size=4 if quick else 12)),
        Work(
            "nginx",
            "request to nginx, by wrk",
            "µs",
            partial(_requests, seconds=1),
            missing=f"not installed: {', '.join(lacking)}" if lacking else "",
        ),
    ]
    return found[:3] if quick else found
