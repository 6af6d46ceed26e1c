"""Run the kernel suite with the product's wheel on several of Debian's kernels; `make test-vm` calls this.

    python3 tools/vm/test.py --kernels "5.10 6.1 6.12 7"
    python3 tools/vm/test.py --kernels 6.1 -- -k ringbuf -x

What stands behind `--` goes to pytest.  Results stay below build/vm-results: a JUnit file and pytest's output for each
kernel.  Exits with 0 when every test passed or was skipped on every kernel.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

# Run as a file, Python looks for modules beside this one; the package is one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vm import emulator, kernel, report
from vm.errors import HostError, VmError
from vm.host import ensure_programs

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "build" / "vm-results"
ENVIRONMENT = ROOT / "build" / "vm-venv"
DEVELOPMENT = ROOT / ".venv" / "bin" / "python"
REQUIREMENTS = ("pytest>=8", "pytest-timeout>=2")

# The suite: what needs a kernel and nothing of the host's but its files.
SUITE = ("-m", "not host_only", "tools/vm/guest", "tests/kernel", "--pyargs", "sonde.probes")

# What another kernel could break first, for every change: each hook runs its program, each output of a probe counts
# exactly, a full ring loses and says so, profiles account for ticks and blocks. All of the suite takes an emulated processor
# more than half an hour.
ESSENTIAL = (
    "-k",
    (
        "guest or attached_program_runs or prime_count or childs_return or still_running or small_ring"
        " or every_tick or counts_once_over or untimed_and_what"
    ),
    "tools/vm/guest",
    "tests/kernel/test_links.py",
    "--pyargs",
    "sonde.probes",
)


@dataclass(frozen=True)
class Settings:
    """What is the same for every kernel."""

    python: Path
    timeout_s: float
    cpus: int
    suite: tuple[str, ...]
    pytest: list[str]


def environment() -> Path:
    """The interpreter of an environment that holds the wheel and pytest, made anew when the wheel has changed.

    Raises HostError where there is no wheel, and none can be made.
    """
    if not list((ROOT / "dist").glob("*.whl")):
        subprocess.run(["make", "--no-print-directory", "wheel"], cwd=ROOT, check=True)
    wheels = sorted((ROOT / "dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        raise HostError("no wheel in dist: the suite runs with it: make wheel")
    wheel = wheels[-1]
    python, stamp = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "wheel.sha256"
    wanted = hashlib.sha256(
        wheel.read_bytes() + f"{REQUIREMENTS} {sys.version} {sys.executable}".encode()
    ).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        install = [
            str(python),
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            str(wheel),
            *REQUIREMENTS,
        ]
        subprocess.run(install, check=True)
        stamp.write_text(wanted)
    return python


def compile_objects() -> None:
    """Compile the BPF objects of the tests here, for the guest has no compiler.  Needs `make setup`."""
    path = os.pathsep.join(str(ROOT / name) for name in ("tools", "tests"))
    subprocess.run(
        [DEVELOPMENT, "-m", "kernel.compiled"], cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=True
    )


def collect(python: Path, suite: tuple[str, ...]) -> None:
    """Read the tests here once: errors show before anything boots, and the guests find the tests' bytecode.

    Rewriting pytest's assertions for the whole suite takes a guest a minute, and it can keep nothing.
    """
    writing = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [str(python), "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *suite]
    done = subprocess.run(command, cwd=ROOT, env=writing, capture_output=True, text=True)
    if done.returncode != 0:
        raise HostError(f"tests cannot be collected:\n{done.stdout}{done.stderr}")


def run(version: str, settings: Settings) -> report.Report:
    """The suite on one kernel."""
    results, log = RESULTS / f"{version}.xml", RESULTS / f"{version}.log"
    results.unlink(missing_ok=True)
    words = [sys.executable, str(Path(__file__).with_name("run.py")), "--kernel", version]
    words += [
        "--timeout",
        str(settings.timeout_s),
        "--cpus",
        str(settings.cpus),
        "--output",
        str(RESULTS),
        "--",
    ]
    words += [str(settings.python), "-m", "pytest", "-p", "no:cacheprovider", "--timeout", "900"]
    words += ["--junit-xml", str(results)]
    begun = time.monotonic()
    with log.open("wb") as file:
        done = subprocess.run(
            [*words, *settings.suite, *settings.pytest], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT
        )
    seconds = time.monotonic() - begun
    said = log.read_text(errors="replace")
    return report.read(version, results, status=done.returncode, seconds=seconds, said=said)


def run_all(versions: list[str], settings: Settings, jobs: int) -> list[report.Report]:
    """The suite on each kernel, some at a time; each report is printed as soon as it is there, in order."""
    reports = []
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        for result in pool.map(lambda version: run(version, settings), versions):
            print("\n".join(result.lines()), flush=True)
            reports.append(result)
    return reports


def arguments() -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(
        prog="tools/vm/test.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--kernels", default=" ".join(kernel.SUITES), help="which, separated by spaces (all)")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="guests at a time (one for each processor)")
    add("--cpus", type=int, default=2, help="processors of a guest (2)")
    add(
        "--timeout",
        type=float,
        default=3600.0,
        metavar="S",
        help="seconds for the suite on one kernel (3600: several times what it takes on an idle machine)",
    )
    add("--essential", action="store_true", help="only what another kernel could break first")
    add("pytest", nargs="*", metavar="-- PYTEST-ARGUMENT")
    return parser.parse_args()


def main() -> int:
    """Run all; returns the exit status."""
    options = arguments()
    versions = options.kernels.split()
    RESULTS.mkdir(parents=True, exist_ok=True)
    try:
        ensure_programs()
        emulator.find()
        for version in versions:
            kernel.find(version)
        compile_objects()
        python = environment()
        suite = ESSENTIAL if options.essential else SUITE
        collect(python, suite)
        settings = Settings(python, options.timeout, options.cpus, suite, options.pytest)
        reports = run_all(versions, settings, options.jobs)
    except (VmError, subprocess.CalledProcessError) as error:
        print(f"sonde-vm: {error}", file=sys.stderr)
        return 125
    passed, failed, skipped = (
        sum(getattr(result, name) for result in reports) for name in ("passed", "failed", "skipped")
    )
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
