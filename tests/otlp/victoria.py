"""VictoriaMetrics, unpacked from Debian's package: a database that takes OTLP and answers queries."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from other_server import started
from otlp.receiver import closed_port, until
from otlp.rotel import listens

ROOT = Path(__file__).parents[2]
FETCH_S = 200


@dataclass(frozen=True)
class Victoria:
    """A running server."""

    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/opentelemetry"

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return json.load(answer)

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Evaluate an expression now: {labels: value}. What was just written is flushed first."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/internal/force_flush", timeout=60):
            pass
        found = self.ask("/api/v1/query", query=expression, time=str(time.time() + 1), nocache="1")
        return {
            tuple(sorted(each["metric"].items())): float(each["value"][1]) for each in found["data"]["result"]
        }


def fetched() -> Path:
    """Give the program, fetched once into the cache; raises LookupError saying why it cannot be."""
    command = [sys.executable, str(ROOT / "tools" / "receivers.py"), "victoria-metrics"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_S)
    except subprocess.TimeoutExpired as error:
        raise LookupError(f"VictoriaMetrics is not fetched within {FETCH_S} s") from error
    if done.returncode != 0:
        raise LookupError(done.stderr.strip().splitlines()[-1])
    return Path(done.stdout.strip())


@contextmanager
def victoria(program: Path, folder: Path) -> Iterator[Victoria]:
    """Run it on loopback with a database of its own."""
    with closed_port() as port:
        options = {
            "httpListenAddr": f"127.0.0.1:{port}",
            "storageDataPath": str(folder / "data"),
            "opentelemetry.usePrometheusNaming": "true",
            "search.latencyOffset": "0s",
            "retentionPeriod": "100y",
            "memory.allowedBytes": "200MB",
        }
        command = [str(program), *(f"-{name}={value}" for name, value in options.items())]
        log = folder / "victoria.log"
        with started(command, log) as process:
            until(lambda: process.poll() is not None or listens(port))
            assert process.poll() is None, log.read_text()
            yield Victoria(port)
