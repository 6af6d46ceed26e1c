"""The wheel, installed in an empty environment and run with nothing else on PATH."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kernel.sonde_process import PATIENCE_S, busy

# The first test builds it, and installs what it needs.
pytestmark = [pytest.mark.beside, pytest.mark.host_only, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
SIZE_MAX_BYTES = 2_000_000


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The wheel as `make wheel` leaves it."""
    command = [sys.executable, "-m", "sonde_build.portable"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": "tools"}, check=True)
    (found,) = (ROOT / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and what it asks for: not this checkout, not the development tools."""
    home = tmp_path_factory.mktemp("wheel") / "venv"
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    subprocess.run([home / "bin/python", "-m", "pip", "install", "-q", wheel], check=True)
    return home


def run(environment: Path, *command: str) -> str:
    """What a command of the environment prints; no program outside can be found, and no setting helps it."""
    done = subprocess.run(
        [environment / "bin" / command[0], *command[1:]],
        cwd=environment,
        env={"PATH": "/nonexistent", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"{command} said: {done.stdout}{done.stderr}"
    return done.stdout


def test_one_small_file_serves_every_python_and_glibc(wheel: Path) -> None:
    """Its name promises Python 3.11 and later, and glibc 2.28 and later; it is below two megabytes."""
    _, _, python, abi, platforms = wheel.stem.split("-")
    assert (python, abi) == ("cp311", "abi3")
    for tag in platforms.split("."):
        name, major, minor, machine = tag.split("_", 3)
        assert (name, major, machine) == ("manylinux", "2", platform.machine())
        assert int(minor) <= 28
    assert wheel.stat().st_size < SIZE_MAX_BYTES


def test_the_extension_keeps_to_the_stable_abi(wheel: Path) -> None:
    """abi3audit finds no symbol that Python 3.11's stable ABI lacks."""
    audit = subprocess.run(
        [sys.executable, "-m", "abi3audit", "--strict", "--report", wheel],
        capture_output=True,
        text=True,
        check=False,
    )
    assert audit.returncode == 0, audit.stdout + audit.stderr
    (scanned,) = json.loads(audit.stdout)["specs"].values()
    extensions = [item for item in scanned["wheel"] if "_native.abi3.so" in item["name"]]
    assert len(extensions) == 1
    assert extensions[0]["result"]["is_abi3"]
    assert extensions[0]["result"]["non_abi3_symbols"] == []


def test_the_platform_that_the_name_promises_is_kept(wheel: Path) -> None:
    """auditwheel, reading the symbols, finds nothing newer than the name says."""
    shown = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", wheel], capture_output=True, text=True, check=True
    ).stdout
    assert "".join(wheel.stem.split("-")[-1].split(".")[-1:]) in shown.replace("\n", " ")


def test_nothing_names_the_machine_that_built_it(wheel: Path) -> None:
    """No file in the wheel holds the path of the checkout or of the cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    guilty = {
        name for name, data in contents.items() if f"{ROOT}/".encode() in data or cache.encode() in data
    }
    assert guilty == set()


def test_libbpf_and_libelf_come_with_it(environment: Path) -> None:
    """The loaded extension has libbpf inside and libelf beside it; the system's are not touched."""
    program = "import sonde._libbpf; print(open('/proc/self/maps').read())"
    loaded = {
        line.split()[-1] for line in run(environment, "python", "-c", program).splitlines() if "/" in line
    }
    assert not any("libbpf" in Path(path).name for path in loaded)
    elf = [path for path in loaded if Path(path).name.startswith("libelf")]
    assert len(elf) == 1
    assert elf[0].startswith(str(environment))


def test_every_object_is_there_and_is_the_one_that_was_built(environment: Path) -> None:
    """The digest compiled into the extension is that of the installed file."""
    sources = sorted((ROOT / "src/sonde/probes").glob("*/*.bpf.c"))
    names = [str(source.with_suffix(".o").relative_to(ROOT / "src/sonde")) for source in sources]
    assert names
    program = (
        "import json, sys; from sonde._libbpf import ffi, lib; import sonde._libbpf as here; "
        "digests = {name: lib.sonde_packaged_digest(name.encode()) for name in sys.argv[1:]}; "
        "print(json.dumps({name: bytes(ffi.buffer(digest, 32)).hex() for name, digest in digests.items()}))"
    )
    digests = json.loads(run(environment, "python", "-c", program, *names))
    (package,) = environment.glob("lib/python*/site-packages/sonde")
    assert {name: hashlib.sha256((package / name).read_bytes()).hexdigest() for name in names} == digests


def test_list_names_the_probes(environment: Path) -> None:
    assert "syscalls" in run(environment, "sonde", "list")


@pytest.mark.kernel
def test_a_trace_of_one_second_adds_up(environment: Path) -> None:
    """`top` counts this machine's calls, and its last line accounts for every one."""
    with busy():
        lines = run(environment, "sonde", "top", "syscalls", "--for", "1s", "--format", "json").splitlines()
    *rows, last = [json.loads(line) for line in lines]
    account = last["accounting"]
    told = account["delivered"] + account["aggregated"] + account["filtered"] + account["sampled_out"]
    assert rows
    assert account["seen"] > 0
    assert account["seen"] == told + sum(account["lost"].values())
