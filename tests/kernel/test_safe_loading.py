"""Safe loading with real files, real owners and the real kernel."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import sonde
from sonde.bpf import ObjectSpec, safe
from sonde.errors import UnsafeObjectError

SOMEONE, SOMEONE_ELSE = 54321, 54322

OPEN = """
import sys
from sonde.bpf import ObjectSpec
from sonde.errors import UnsafeObjectError
try:
    print("opened", *ObjectSpec.open(sys.argv[1]).programs)
except UnsafeObjectError as error:
    print(error.cause, "|", error)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that everyone may enter; pytest's own are for root only."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def file(folder: Path, compile_object: Callable[[str | Path], Path]) -> Path:
    """An object of root's with mode 0644."""
    path = folder / "good.bpf.o"
    shutil.copy(compile_object("safe/good.bpf.c"), path)
    path.chmod(0o644)
    return path


def refusal(path: Path) -> UnsafeObjectError:
    with pytest.raises(UnsafeObjectError) as caught:
        ObjectSpec.open(path)
    return caught.value


def load(path: Path, **options: str) -> list[str]:
    """Load an object into the kernel and drop it; its programs."""
    with ObjectSpec.open(path, **options) as spec, spec.load() as loaded:  # type: ignore[arg-type]
        return list(loaded.programs)


def open_as(user: int, path: Path) -> str:
    """What another user gets who opens a file."""
    command = [
        "setpriv",
        f"--reuid={user}",
        f"--regid={user}",
        "--clear-groups",
        # Python, sonde and the file may lie below root's own folder, which the user could not enter.
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
        sys.executable,
        "-c",
        OPEN,
        str(path),
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout.strip()


def run_hint(error: UnsafeObjectError) -> None:
    subprocess.run(["/bin/bash", "-c", error.hint.split("run: ", 1)[1]], check=True)


def test_refuses_a_file_of_another_owner_and_the_hint_mends_it(file: Path) -> None:
    """Root loads root's files; whoever owns another one could change it at any time."""
    os.chown(file, SOMEONE, SOMEONE)
    error = refusal(file)
    assert error.cause == "owner"
    assert error.owner == SOMEONE
    assert f"it is owned by {SOMEONE}, not by root" in str(error)
    assert f"run: chown root -- {file}" in error.hint
    run_hint(error)
    assert load(file) == ["good"]


def test_refuses_owner_and_mode_at_once_with_one_command(file: Path) -> None:
    """Nobody has to try twice."""
    os.chown(file, SOMEONE, SOMEONE)
    file.chmod(0o666)
    error = refusal(file)
    assert "owned by" in error.why
    assert "mode 0666" in error.why
    run_hint(error)
    assert load(file) == ["good"]


def test_refuses_a_file_that_others_can_write(file: Path) -> None:
    """By group or by others; the command in the message makes it load."""
    for mode in (0o664, 0o646):
        file.chmod(mode)
        error = refusal(file)
        assert error.cause == "mode"
        run_hint(error)
        assert load(file) == ["good"]


def test_refuses_a_symbolic_link(file: Path) -> None:
    """Even root's own."""
    link = file.with_name("link.bpf.o")
    link.symlink_to(file)
    error = refusal(link)
    assert error.cause == "link"
    assert str(file) in error.hint


def test_pin_replaces_the_owner(file: Path) -> None:
    """Content that is known may belong to anyone."""
    os.chown(file, SOMEONE, SOMEONE)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert load(file, sha256=digest) == ["good"]
    with pytest.raises(UnsafeObjectError) as caught:
        load(file, sha256=digest.replace(digest[0], "0" if digest[0] != "0" else "1"))
    assert caught.value.cause == "digest"


def test_another_user_may_open_root_s_files_and_own_ones(file: Path) -> None:
    """Trusted are root and the effective user, whoever that is; a third one is not."""
    assert open_as(SOMEONE, file) == "opened good"
    os.chown(file, SOMEONE, SOMEONE)
    assert open_as(SOMEONE, file) == "opened good"
    os.chown(file, SOMEONE_ELSE, SOMEONE_ELSE)
    assert open_as(SOMEONE, file).startswith("owner | ")
    assert f"run: sudo chown {SOMEONE} -- {file}" in open_as(SOMEONE, file)


def test_what_is_loaded_is_what_was_checked(file: Path, compile_object: Callable[[str | Path], Path]) -> None:
    """The file is read once; what it becomes between opening and loading does not matter."""
    bad = compile_object("safe/bad.bpf.c").read_bytes()
    with ObjectSpec.open(file) as spec:
        file.write_bytes(bad)
        file.chmod(0o666)
        with spec.load() as loaded:
            assert list(loaded.programs) == ["good"]


def test_a_race_never_loads_the_other_file(file: Path, compile_object: Callable[[str | Path], Path]) -> None:
    """The path is turned to and fro between a good file, a bad one of another owner and a link to it."""
    folder = file.parent
    bad = folder / "bad.bpf.o"
    shutil.copy(compile_object("safe/bad.bpf.c"), bad)
    os.chown(bad, SOMEONE, SOMEONE)
    target = folder / "target.bpf.o"
    shutil.copy(file, target)
    stop = threading.Event()
    turns = 0

    def turn() -> None:
        nonlocal turns
        while not stop.is_set():
            for source in (bad, file):
                os.link(source, folder / "next")
                os.rename(folder / "next", target)
            os.symlink(bad, folder / "next")
            os.rename(folder / "next", target)
            turns += 1

    thread = threading.Thread(target=turn)
    thread.start()
    seen: dict[str, int] = {}
    try:
        tries = 0
        # Both have had their turns by then.
        while tries < 1000 or not turns or "good" not in seen:
            tries += 1
            try:
                with ObjectSpec.open(target) as spec:
                    came = ",".join(spec.programs)
            except UnsafeObjectError as error:
                came = error.cause
            seen[came] = seen.get(came, 0) + 1
    finally:
        stop.set()
        thread.join()
    assert turns > 0
    assert seen.pop("good", 0) > 0
    # A link count that changes is a change of the file's status, too.
    assert set(seen) <= {"owner", "link", "changed"}


@pytest.fixture
def foreign_environment(folder: Path) -> Path:
    """A virtual environment with sonde in it that belongs to someone with umask 002."""
    home = folder / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    packages = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    package = Path(sonde.__file__).parent
    # A wheel brings its libraries in a folder beside the package.
    for source in (package, package.with_name("sonde.libs")):
        if source.exists():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, packages / source.name, ignore=ignored)
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "dependencies.pth").write_text("\n".join(dependencies))
    for path in [home, *home.rglob("*")]:
        os.lchown(path, SOMEONE, SOMEONE)
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o020)
    return home


def test_packaged_objects_load_from_a_foreign_environment(foreign_environment: Path) -> None:
    """sudo .venv/bin/sonde: owner and mode would refuse the file, the digest accepts it."""
    code = """
import sonde
from sonde.bpf import ObjectSpec, safe
from sonde.errors import UnsafeObjectError
print(sonde.__file__)
path = "probes/syscalls/probe.bpf.o"
with ObjectSpec.open(safe.read_packaged(path), name="syscalls") as spec:
    print(len(spec.programs) > 0)
try:
    ObjectSpec.open(safe.PACKAGE_DIRECTORY + "/" + path)
except UnsafeObjectError as error:
    print(error.cause)
"""
    python = foreign_environment / "bin" / "python"
    result = subprocess.run([python, "-B", "-c", code], check=True, capture_output=True, text=True, cwd="/")
    where, opened, cause = result.stdout.splitlines()
    assert where.startswith(str(foreign_environment))
    assert (opened, cause) == ("True", "owner")


def test_command_line_runs_from_a_foreign_environment(foreign_environment: Path) -> None:
    """The whole way, as root in someone else's environment."""
    python = foreign_environment / "bin" / "python"
    command = [
        python,
        "-B",
        "-m",
        "sonde",
        "top",
        "syscalls",
        "--pid",
        "1",
        "--for",
        "200ms",
        "--format",
        "json",
    ]
    result = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/")
    assert result.returncode == 0, result.stderr
    assert "accounting" in json.loads(result.stdout.splitlines()[-1])


def test_changed_packaged_object_is_refused(foreign_environment: Path) -> None:
    """One bit, and it is not what sonde was built with, whoever owns it."""
    code = """
import os, shutil
from sonde.bpf import safe
from sonde.errors import UnsafeObjectError
relative = "probes/syscalls/probe.bpf.o"
path = os.path.join(safe.PACKAGE_DIRECTORY, relative)
data = bytearray(open(path, "rb").read())
data[-1] ^= 1
open(path, "wb").write(data)
for name in (relative, "probes/unknown/probe.bpf.o"):
    try:
        safe.read_packaged(name)
    except UnsafeObjectError as error:
        print(error.cause, "|", error.why)
"""
    python = foreign_environment / "bin" / "python"
    result = subprocess.run([python, "-B", "-c", code], check=True, capture_output=True, text=True, cwd="/")
    changed, unknown = result.stdout.splitlines()
    assert changed.startswith("digest | its SHA-256 is not the one compiled into")
    assert unknown.startswith("digest | this sonde was built without such an object")


def test_packaged_object_may_be_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some installers link files from a cache; what counts is what they contain."""
    real = Path(safe.PACKAGE_DIRECTORY) / "probes" / "syscalls" / "probe.bpf.o"
    link = tmp_path / "probes" / "syscalls" / "probe.bpf.o"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    monkeypatch.setattr(safe, "PACKAGE_DIRECTORY", str(tmp_path))
    assert safe.read_packaged("probes/syscalls/probe.bpf.o") == real.read_bytes()
