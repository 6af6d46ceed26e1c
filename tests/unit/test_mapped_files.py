"""Mapped files are opened by what they are, not by what they are called; and what is known of them, within bounds."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from elf_programs import C_SOURCE, CPP_SOURCE, compiled, frames_at, symbols_by_nm
from sonde._libbpf import lib
from sonde.bpf.side_band import MappedPath
from sonde.enrich.symbols import binaries, mapped_files
from sonde.enrich.symbols.binaries import Binaries
from sonde.enrich.symbols.mapped_files import MappedFiles, identity_of

ME = os.getpid()


def mapped(path: Path) -> MappedPath:
    told = path.stat()
    return MappedPath(str(path), told.st_dev, told.st_ino)


def opened(files: MappedFiles, file: MappedPath) -> bytes | None:
    fd = files.open(file, pids=(ME,))
    if fd is None:
        return None
    try:
        return os.pread(fd, 100, 0)
    finally:
        os.close(fd)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_file_is_opened_by_device_and_inode(tmp_path: Path) -> None:
    path = tmp_path / "library"
    path.write_text("mapped")
    files, file = MappedFiles(), mapped(path)
    assert opened(files, file) == b"mapped"
    other = tmp_path / "other"
    other.write_text("of the same name")
    other.rename(path)
    assert opened(files, file) is None


def test_a_program_that_has_no_name_any_more_is_opened_as_long_as_it_runs(tmp_path: Path) -> None:
    """One that has deleted itself, and is gone when its names are asked for."""
    path = tmp_path / "program"
    shutil.copy("/bin/cat", path)
    files, file = MappedFiles(), mapped(path)
    with subprocess.Popen([str(path)], stdin=subprocess.PIPE) as process:
        path.unlink()
        files.hold(process.pid, file)
        process.communicate()
    found = opened(files, file)
    assert found is not None
    assert found.startswith(b"\x7fELF")
    files.close()


def test_what_was_mapped_after_that_moment_is_not_released(tmp_path: Path) -> None:
    """While names are looked up, which takes its time, others begin and end."""
    paths = [tmp_path / "earlier", tmp_path / "later"]
    files, moments = MappedFiles(), []
    for path in paths:
        path.write_text(path.name)
        moments.append(time.monotonic_ns())
        files.hold(ME, mapped(path))
    held = [mapped(path) for path in paths]
    for path in paths:
        path.unlink()
    files.release(moments[1])
    assert [None, b"later"] == [opened(files, each) for each in held]
    files.close()


def test_of_devices_only_those_of_overlays_and_btrfs_may_differ(tmp_path: Path) -> None:
    """And the upper bits of an inode, in which an overlay notes the layer."""
    path = tmp_path / "library"
    path.write_text("mapped")
    file, fd = mapped(path), os.open(path, os.O_RDONLY)
    differs = lib.sonde_filesystem_type(fd) in mapped_files.OTHER_DEVICES
    os.close(fd)
    elsewhere = MappedPath(file.path, file.device + 1, file.inode)
    assert opened(MappedFiles(), elsewhere) == (b"mapped" if differs else None)
    layered = MappedPath(file.path, file.device, file.inode | 1 << 60)
    assert opened(MappedFiles(), layered) == b"mapped"


def test_what_is_held_is_there_when_its_path_is_not(tmp_path: Path) -> None:
    path = tmp_path / "passing"
    path.write_text("mapped")
    files, file = MappedFiles(), mapped(path)
    files.hold(ME, file)
    path.unlink()
    assert opened(files, file) == b"mapped"
    files.release(time.monotonic_ns())
    assert opened(files, file) is None


def test_no_more_is_held_than_may_be_and_nothing_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_files, "HELD_MAX", 5)
    before, files = descriptors(), MappedFiles()
    held = []
    for number in range(13):
        path = tmp_path / str(number)
        path.write_text("x")
        held.append(mapped(path))
        files.hold(ME, held[-1])
    files.hold(ME, held[-1])
    assert descriptors() == before + 5
    files.close()
    assert descriptors() == before


def test_where_few_descriptors_may_be_open_few_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is for whoever writes the profile: ulimit -n 64."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 4096))
    assert MappedFiles().held_max == 16
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert MappedFiles().held_max == 256


def test_neither_devices_nor_pipes_nor_folders_are_opened(tmp_path: Path) -> None:
    """A pipe would make us wait for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    before, files = descriptors(), MappedFiles()
    for path in (pipe, tmp_path, Path("/dev/zero"), tmp_path / "nothing"):
        told = path.stat() if path.exists() else tmp_path.stat()
        assert files.open(MappedPath(str(path), told.st_dev, told.st_ino), pids=(ME,)) is None
    assert files.open(MappedPath("relative", 1, 2)) is None
    assert files.open(MappedPath("/with\0nul", 1, 2), pids=(ME,)) is None
    assert descriptors() == before


def test_a_mapped_file_that_was_deleted_is_opened_where_it_is_mapped(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip(f"/proc/PID/map_files needs CAP_SYS_ADMIN, runs as user {os.geteuid()}")
    import mmap

    path = tmp_path / "deleted"
    path.write_bytes(b"mapped" + bytes(4096))
    file = mapped(path)
    with path.open("rb") as source, mmap.mmap(source.fileno(), 4096, prot=mmap.PROT_READ):
        path.unlink()
        lines = Path("/proc/self/maps").read_text().splitlines()
        start, end = next(line.split()[0] for line in lines if f"{path} (deleted)" in line).split("-")
        fd = MappedFiles().open(file, pids=(ME,), start=int(start, 16), end=int(end, 16))
        assert fd is not None
        assert os.pread(fd, 6, 0) == b"mapped"
        os.close(fd)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("programs"), "plain", C_SOURCE)


def test_a_binary_is_read_once_until_it_changes(program: Path, tmp_path: Path) -> None:
    """A compiler may write another program into the same file: then it is read again."""
    path = tmp_path / "tool"
    path.write_bytes(program.read_bytes())
    known, file = Binaries(MappedFiles()), mapped(path)
    first = known.of(file)
    assert first is known.of(file) is not None
    other = compiled(tmp_path, "other", C_SOURCE.replace("outer", "external"))
    path.write_bytes(other.read_bytes())
    assert mapped(path) == file
    again = known.of(file)
    assert again is not None
    (frame,) = frames_at(again, other, symbols_by_nm(other)["external"][0])
    assert frame.name == "external"


def test_a_binary_that_is_gone_stays_known(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "passing"
    path.write_bytes(program.read_bytes())
    known, file = Binaries(MappedFiles()), mapped(path)
    first = known.of(file)
    path.unlink()
    assert known.of(file) is first is not None


def test_what_cannot_be_found_is_not_looked_for_at_each_read(tmp_path: Path) -> None:
    now = [0.0]
    known = Binaries(MappedFiles(), clock_s=lambda: now[0])
    path = tmp_path / "late"
    path.write_text("")
    file = mapped(path)
    hidden = path.rename(tmp_path / "hidden")
    assert known.of(file) is None
    path.write_bytes(b"")
    hidden.rename(path)
    assert known._missing == {file: 0.0}
    now[0] += binaries.AGAIN_S
    assert known.of(file) is None
    assert known._identities


def test_symbols_in_memory_are_bounded(
    tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "BYTES_MAX", 1)
    known = Binaries(MappedFiles())
    for number in range(5):
        path = tmp_path / str(number)
        path.write_bytes(program.read_bytes())
        assert known.of(mapped(path)) is not None
    assert len(known._binaries) == 1


def test_of_too_many_binaries_those_not_asked_for_longest_go(
    tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "BINARIES_MAX", 2)
    known, files = Binaries(MappedFiles()), []
    for name in ("first", "second", "third"):
        path = tmp_path / name
        path.write_bytes(program.read_bytes())
        files.append(mapped(path))
    first, second = (known.of(file) for file in files[:2])
    assert known.of(files[0]) is first is not None
    known.of(files[2])
    assert len(known._binaries) == 2
    assert known.of(files[0]) is first
    assert known.of(files[1]) is not second


def test_that_lines_cannot_be_read_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where symbolic is not installed; with what to do."""
    monkeypatch.setattr(binaries, "is_available", lambda: False)
    known = Binaries(MappedFiles())
    with caplog.at_level(logging.WARNING):
        for name in ("first", "second"):
            assert known.of(mapped(compiled(tmp_path, name, CPP_SOURCE, "-g"))) is not None
    assert known.notes == [binaries.WITHOUT]
    assert [record.getMessage() for record in caplog.records] == [binaries.WITHOUT]
    assert "pip install sonde[symbols]" in binaries.WITHOUT


def test_the_identity_of_a_file_is_of_one_version(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    with path.open("rb") as file:
        before = identity_of(file.fileno())
        path.write_text("another")
        assert identity_of(file.fileno()) != before
