"""Safe reading of object files: what is accepted, what is refused, and the command that mends it."""

from __future__ import annotations

import hashlib
import os
import shlex
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from sonde.bpf import safe
from sonde.errors import KernelError, UnsafeObjectError

CONTENT = b"\x7fELF" + bytes(range(256)) * 40


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "an object.bpf.o"
    path.write_bytes(CONTENT)
    path.chmod(0o644)
    return path


def refusal(path: Path | str, **options: object) -> UnsafeObjectError:
    with pytest.raises(UnsafeObjectError) as caught:
        safe.read_object(path, **options)  # type: ignore[arg-type]
    return caught.value


def run_hint(error: UnsafeObjectError) -> None:
    """Run the command at the end of a hint as a user would paste it."""
    command = error.hint.split("run: ", 1)[1].replace("sudo ", "")
    subprocess.run(["/bin/bash", "-c", command], check=True)


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o444, 0o755, 0o640])
def test_reads_a_file_that_only_its_owner_can_write(file: Path, mode: int) -> None:
    """Readable by all is what an installed file is; it is not refused."""
    file.chmod(mode)
    assert safe.read_object(file) == CONTENT


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o620, 0o602, 0o777])
def test_refuses_a_file_that_others_can_write(file: Path, mode: int) -> None:
    """The refusal names the mode, and its command, pasted into a shell, makes the file load."""
    file.chmod(mode)
    error = refusal(file)
    assert error.cause == "mode"
    assert error.mode == mode
    assert f"{mode:04o}" in str(error)
    assert f"chmod go-w -- {shlex.quote(str(file))}" in error.hint
    run_hint(error)
    assert safe.read_object(file) == CONTENT


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o601, 0o700 | 0o010])
def test_strict_allows_group_and_others_nothing(file: Path, mode: int) -> None:
    """The document's rule, mode & 0077 == 0, comes back with strict."""
    file.chmod(mode)
    assert safe.read_object(file) == CONTENT
    error = refusal(file, strict=True)
    assert error.cause == "mode"
    run_hint(error)
    assert safe.read_object(file, strict=True) == CONTENT


def test_refuses_a_symbolic_link_and_names_its_target(file: Path, tmp_path: Path) -> None:
    """Whoever owns the link may turn it; the file behind it can be named instead."""
    link = tmp_path / "link.bpf.o"
    link.symlink_to(file)
    error = refusal(link)
    assert error.cause == "link"
    assert shlex.quote(str(file)) in error.hint


def test_refuses_a_dangling_link_as_a_link(tmp_path: Path) -> None:
    """A link to nothing is a link, not a missing file."""
    link = tmp_path / "link.bpf.o"
    link.symlink_to(tmp_path / "nothing")
    assert refusal(link).cause == "link"


def test_directories_that_link_in_a_circle_are_no_link_to_a_file(tmp_path: Path) -> None:
    """The same errno, another matter."""
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(KernelError, match="ELOOP"):
        safe.read_object(tmp_path / "a" / "x.bpf.o")


def test_accepts_a_link_among_the_directories(file: Path, tmp_path: Path) -> None:
    """Only the last name must be the file itself: /tmp or /var/run may be links."""
    (tmp_path / "way").symlink_to(tmp_path)
    assert safe.read_object(tmp_path / "way" / file.name) == CONTENT


def test_refuses_a_descriptor_path(file: Path) -> None:
    """/proc/self/fd/N is a link too, even to a file that would be accepted."""
    with file.open("rb") as stream:
        assert refusal(f"/proc/self/fd/{stream.fileno()}").cause == "link"


def test_refuses_a_pipe_without_waiting_for_a_writer(tmp_path: Path) -> None:
    """Opening a FIFO for reading blocks until someone writes, unless it is opened non-blocking."""
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o600)
    causes: list[str] = []
    reader = threading.Thread(target=lambda: causes.append(refusal(path).cause), daemon=True)
    reader.start()
    reader.join(timeout=60)
    assert causes == ["kind"]


def test_refuses_directory_device_and_socket(tmp_path: Path) -> None:
    """Each is named for what it is."""
    assert "a directory" in str(refusal(tmp_path))
    assert "a device" in str(refusal("/dev/zero"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(KernelError):
            safe.read_object(tmp_path / "socket")


def test_names_a_missing_file(tmp_path: Path) -> None:
    """ENOENT is an OSError that says which file and what to check."""
    with pytest.raises(OSError, match="check the spelling") as caught:
        safe.read_object(tmp_path / "missing.bpf.o")
    assert isinstance(caught.value, KernelError)
    assert "missing.bpf.o" in str(caught.value)


def test_bounds_the_size(file: Path) -> None:
    """One byte over the bound is refused, the bound itself is not; nothing is read of a file too large."""
    assert safe.read_object(file, size_max_bytes=len(CONTENT)) == CONTENT
    error = refusal(file, size_max_bytes=len(CONTENT) - 1)
    assert error.cause == "size"
    assert error.size_bytes == len(CONTENT)
    os.truncate(file, 1 << 40)
    assert refusal(file).cause == "size"


def test_pin_accepts_its_digest_in_each_spelling(file: Path) -> None:
    """Hexadecimal in either case, or 32 bytes."""
    digest = hashlib.sha256(CONTENT)
    for pin in (digest.hexdigest(), digest.hexdigest().upper(), digest.digest()):
        assert safe.read_object(file, sha256=pin) == CONTENT


def test_pin_refuses_other_content(file: Path) -> None:
    """One changed bit is another digest, and both are shown."""
    pin = hashlib.sha256(CONTENT).hexdigest()
    file.write_bytes(CONTENT[:-1] + b"!")
    error = refusal(file, sha256=pin)
    assert error.cause == "digest"
    assert pin in str(error)
    assert error.digest == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("pin", ["", "abc", "zz" * 32, b"short", "00" * 31, b"\xff" * 31])
def test_pin_must_be_a_digest(file: Path, pin: str | bytes) -> None:
    """A mistyped pin is refused as such, never taken as no pin."""
    error = refusal(file, sha256=pin)
    assert error.cause == "digest"
    assert "no SHA-256" in str(error)


def test_pin_does_not_excuse_the_mode(file: Path) -> None:
    """The pin replaces the check of the owner only."""
    file.chmod(0o666)
    assert refusal(file, sha256=hashlib.sha256(CONTENT).hexdigest()).cause == "mode"


@pytest.mark.parametrize("change", ["append", "truncate", "same size", "mode"])
def test_notices_a_change_while_it_reads(file: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """The descriptor is asked again after the read, so no torn content is handed on."""
    real_read = os.read
    changed = []

    def read_and_change(fd: int, size: int) -> bytes:
        data = real_read(fd, size)
        if not changed:
            changed.append(True)
            if change == "append":
                with file.open("ab") as stream:
                    stream.write(b"more")
            elif change == "truncate":
                os.truncate(file, 100)
            elif change == "same size":
                file.write_bytes(bytes(len(CONTENT)))
                os.utime(file, ns=(1, 1))
            else:
                file.chmod(0o600)
        return data

    monkeypatch.setattr(os, "read", read_and_change)
    assert refusal(file).cause == "changed"


def test_replacing_the_path_after_opening_changes_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check and read use one descriptor: a file renamed over the path in between is never looked at."""
    real_fstat = os.fstat
    other = file.with_name("other")
    other.write_bytes(b"evil" * 100)
    other.chmod(0o666)

    def fstat_and_replace(fd: int) -> os.stat_result:
        found = real_fstat(fd)
        if other.exists():
            os.rename(other, file)
            found = real_fstat(fd)
        return found

    monkeypatch.setattr(os, "fstat", fstat_and_replace)
    assert safe.read_object(file) == CONTENT
    assert file.read_bytes() == b"evil" * 100


def test_leaves_no_descriptor_open(file: Path) -> None:
    """Neither a success nor any refusal leaks one."""
    before = os.listdir("/proc/self/fd")
    for _ in range(20):
        safe.read_object(file)
        refusal(file, size_max_bytes=1)
        refusal(file.parent)
        refusal(file, sha256=bytes(32))
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize(
    "name", ["-rf.o", "a'b.o", "$(id).o", "new\nline.o", "\x1b[31mred.o", "é.o", os.fsdecode(b"\xff.o")]
)
def test_hint_survives_any_file_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The command holds any name so that it can be printed on a terminal and pasted into a shell."""
    monkeypatch.chdir(tmp_path)
    with open(name, "wb") as stream:
        stream.write(CONTENT)
    os.chmod(name, 0o666)
    error = refusal(name)
    assert str(error).isprintable()
    str(error).encode()
    run_hint(error)
    assert safe.read_object(name) == CONTENT


def test_bounds_the_instructions_of_each_program() -> None:
    """One million is the verifier's bound and loads; one more is refused by name."""
    safe.check_instruction_counts({"a": 1_000_000, "b": 2}, path="x.o")
    with pytest.raises(UnsafeObjectError, match="program b has 1,000,001 instructions") as caught:
        safe.check_instruction_counts({"a": 5, "b": 1_000_001}, path="x.o")
    assert caught.value.cause == "instructions"
