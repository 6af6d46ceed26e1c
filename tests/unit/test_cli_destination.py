"""Where output goes, and what is told when it cannot go there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sonde.cli.destination import Destination
from sonde.cli.failure import ReaderGoneError
from sonde.errors import CommandError, KernelError


def test_a_file_is_replaced_when_there_is_something_to_write(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text("old and longer")
    with Destination(str(path)) as destination:
        assert not destination.is_terminal
        assert path.read_text() == "old and longer"
        destination.file.write("new")

    assert path.read_text() == "new"


def test_what_fails_before_there_is_anything_to_write_costs_no_older_file(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text("old")

    def fail() -> None:
        with Destination(str(path)):
            raise CommandError("start mkae", why="there is no such command")

    with pytest.raises(CommandError):
        fail()
    assert path.read_text() == "old"


def test_nothing_to_write_is_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text("old")
    with Destination(str(path)):
        pass
    assert path.read_text() == ""


def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    with (
        pytest.raises(CommandError, match=r"^write .*: is a directory \(EISDIR\)"),
        Destination(str(tmp_path)),
    ):
        pass


def test_a_pipe_is_written_to_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with Destination(str(path)) as destination:
        destination.file.write("rows")
    assert os.read(reader, 100) == b"rows"
    os.close(reader)


def test_a_terminal_is_given_back_before_the_error_is_told(tmp_path: Path) -> None:
    order = []

    def fail() -> None:
        with Destination(str(tmp_path / "rows")) as destination:
            destination.adopt(lambda: order.append("restored"))
            raise KernelError(errno.EIO, operation="read")

    with pytest.raises(KernelError):
        fail()
    assert order == ["restored"]


def test_a_full_disk_is_told_with_the_files_name() -> None:
    def fill() -> None:
        with Destination("/dev/full") as destination:
            destination.file.write("x")

    with pytest.raises(CommandError, match=r"^write /dev/full: no space left on device \(ENOSPC\)$"):
        fill()


def test_a_reader_that_has_gone_is_no_failure_to_tell(tmp_path: Path) -> None:
    def write() -> None:
        with Destination(str(tmp_path / "rows")):
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    with pytest.raises(ReaderGoneError) as caught:
        write()
    assert caught.value.status == 141


def test_an_error_of_the_kernels_stays_what_it_is(tmp_path: Path) -> None:
    """It is an OSError, too, and has nothing to do with writing."""

    def fail() -> None:
        with Destination(str(tmp_path / "rows")):
            raise KernelError(errno.ENOSPC, operation="write map", subject="m")

    with pytest.raises(KernelError, match=r"^write map m"):
        fail()


def test_bytes_that_are_no_text_can_be_written(tmp_path: Path) -> None:
    with Destination(str(tmp_path / "rows")) as destination:
        destination.line([("\udcff", "bold")])

    assert (tmp_path / "rows").read_bytes() == b"\xff\n"
