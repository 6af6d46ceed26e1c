"""Real Prometheus servers that scrape over loopback: 2.42 of Debian 12, and the newest 3.x of Debian sid."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from other_server import started
from receivers.package import programs
from sonde_build.compilers import BuildError

RELEASES = {"2.42": "bookworm", "3": "sid"}
DEADLINE_S = 120.0
# The two have different ways to write their logs.
LISTENING = re.compile(r'msg="?Listening on"? .*address=\S*?:(\d+)')


@cache
def _programs(version: str) -> Path | str:
    """Give the folder of a version's programs, or why there is none."""
    if shutil.which("apt-get") is None:
        return "this machine has no apt-get to fetch it with"
    try:
        return programs("prometheus", release=RELEASES[version])
    except BuildError as error:
        if version == "2.42":
            raise
        # The newest may be moving from one archive to another; the old one cannot.
        return f"Debian {RELEASES[version]} does not give it now: {str(error).splitlines()[-1]}"


def program(version: str, name: str = "prometheus") -> Path:
    """Give a program of Prometheus; skips the test, naming what is missing."""
    found = _programs(version)
    if isinstance(found, str):
        pytest.skip(f"Prometheus {version}: {found}")
    return found / name


@dataclass(frozen=True)
class Sample:
    """One series of an answer."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    port: int
    version: tuple[int, ...]

    def query(self, text: str) -> list[Sample]:
        """Ask for an instant vector, of the moment of the newest scrape that succeeded.

        One that a busy machine makes fail would else take all series away until the next.
        """
        succeeded = [moment for moment, is_up in self._scrapes() if is_up]
        if not succeeded:
            return []
        found = self._evaluate(text, time=f"{succeeded[-1]:.3f}")
        return [Sample(each["metric"], float(each["value"][1])) for each in found]

    def failed_scrapes(self) -> int:
        """Count the scrapes that brought nothing."""
        return sum(not is_up for _, is_up in self._scrapes())

    def _scrapes(self) -> list[tuple[float, bool]]:
        """Give the moment of each scrape, and whether it succeeded."""
        return [
            (moment, value == "1") for each in self._evaluate("up[1h]") for moment, value in each["values"]
        ]

    def _evaluate(self, text: str, **options: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"query": text, **options})
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/api/v1/query?{query}", timeout=60
        ) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        found: list[dict[str, Any]] = told["data"]["result"]
        return found

    def value(self, text: str) -> float | None:
        """Ask for one number; None when there is nothing."""
        found = self.query(text)
        assert len(found) <= 1, found
        return found[0].value if found else None

    def targets(self) -> list[dict[str, Any]]:
        """Tell how the scrapes go."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/targets", timeout=60) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["activeTargets"]
        return found

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until it holds; scrapes come every second."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            errors = [target["lastError"] for target in self.targets()]
            assert time.monotonic() < deadline, (
                f"{what}: not within {DEADLINE_S:g} s; the scrapes say {errors}"
            )
            time.sleep(0.2)

    def until_value(self, text: str, expected: float) -> None:
        """Wait until a query gives a number."""
        self.until(lambda: self.value(text) == expected, f"{text} = {expected!r}")


@contextmanager
def prometheus(
    folder: Path, url: str, *, version: str, native: bool, **scraping: Any
) -> Iterator[Prometheus]:
    """Run a server that scrapes ``url`` every second; ``scraping`` is added to its configuration (JSON is YAML)."""
    scheme, _, target = url.partition("://")
    job = {"job_name": "sonde", "scheme": scheme, "static_configs": [{"targets": [target]}], **scraping}
    if native and version_of(version) >= (3, 8):
        # The feature's flag has no effect any more from 3.9 on.
        job["scrape_native_histograms"] = True
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(json.dumps(config))
    command = [str(program(version)), f"--config.file={folder}/prometheus.yml"]
    command += [f"--storage.tsdb.path={folder}/data", "--web.listen-address=127.0.0.1:0"]
    # Else it looks for its one target after five seconds for the first time.
    command += ["--scrape.discovery-reload-interval=100ms"]
    command += ["--enable-feature=native-histograms"] if native else []
    log = folder / "prometheus.log"
    with started(command, log, cwd=folder) as process:
        yield Prometheus(_port(process, log), version_of(version))


@cache
def version_of(version: str) -> tuple[int, ...]:
    """Ask a program for its exact version."""
    told = subprocess.run([str(program(version)), "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", told.stdout + told.stderr)
    assert found is not None, told
    return tuple(map(int, found.groups()))


def _port(process: subprocess.Popen[bytes], log_file: Path) -> int:
    """Wait until it listens and answers queries."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log_file.read_text()
        if (found := LISTENING.search(log_file.read_text())) and _is_ready(int(found[1])):
            return int(found[1])
        time.sleep(0.1)
    raise AssertionError(f"Prometheus is not ready: {log_file.read_text()}")


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=10):
            return True
    except OSError:
        return False


def check_metrics(page: bytes) -> tuple[int, str]:
    """Have ``promtool check metrics`` judge a page: its status, and what it says."""
    done = subprocess.run(
        [str(program("2.42", "promtool")), "check", "metrics"], input=page, capture_output=True, check=False
    )
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")
