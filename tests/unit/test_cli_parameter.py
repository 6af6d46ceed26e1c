"""What may be written behind an option, and what is said when it is something else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import click
import pytest

from sonde.cli.parameter import Comm, Count, Descriptor, Duration, OneOf, Output, Process, Setting, unknown
from sonde.errors import KnobError


def refused(kind: click.ParamType[object], value: str) -> str:
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(value, None, None)
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("5s", 5), ("2m", 120), ("1h", 3600), ("5", 5), ("0.25", 0.25), ("100us", 1e-4)],
)
def test_a_time_is_seconds_unless_it_says_otherwise(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5x", "", "s", "-5s", "1e400s", "five", "5 s s", "nan", "inf"])
def test_what_is_no_time_is_answered_with_some_that_are(text: str) -> None:
    assert "500ms, 5s" in refused(Duration(), text) or "500ms or 5s" in refused(Duration(), text)


def test_a_time_of_nothing_is_none() -> None:
    assert "above 0" in refused(Duration(), "0s")


def test_a_time_can_have_bounds() -> None:
    kind = Duration(least="10ms", most="1d")

    assert kind.convert("10ms", None, None) == pytest.approx(0.01)
    assert refused(kind, "9ms") == "'9ms' cannot be: give from 10ms to 1d"
    assert refused(kind, "25h") == "'25h' cannot be: give from 10ms to 1d"


def test_a_process_has_to_be_there() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()

    assert Process().convert(str(os.getpid()), None, None) == os.getpid()
    assert refused(Process(), str(child.pid)) == f"there is no process {child.pid}: pgrep finds them by name"
    assert "is no process number" in refused(Process(), "nginx")
    assert "there is no process -1" in refused(Process(), "-1")


def test_a_thread_is_no_process_and_the_message_names_its_process() -> None:
    ready, done = threading.Event(), threading.Event()
    numbers: list[int] = []

    def run() -> None:
        numbers.append(threading.get_native_id())
        ready.set()
        done.wait()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        message = refused(Process(), str(numbers[0]))
    finally:
        done.set()
        thread.join()

    assert message == f"{numbers[0]} is a thread of process {os.getpid()}: give --pid {os.getpid()}"


def test_a_name_that_the_kernel_cannot_keep_would_never_match() -> None:
    assert Comm().convert("nginx", None, None) == "nginx"
    assert "which is systemd-journal" in refused(Comm(), "systemd-journald")
    assert "1 to 15 bytes" in refused(Comm(), "")
    assert "1 to 15 bytes" in refused(Comm(), "ü" * 8)


@pytest.mark.parametrize("text", ["-1", "x", "", str(1 << 32), "1.5"])
def test_a_count_is_a_whole_number_from_its_least_on(text: str) -> None:
    assert refused(Count("rows"), text) == f"{text!r} is no number of rows: give one from 0 on"


def test_a_word_that_is_none_of_them_is_answered_with_the_nearest_and_all() -> None:
    kind = OneOf(("table", "json", "csv"), noun="format")

    assert kind.convert("json", None, None) == "json"
    assert refused(kind, "jsn") == "there is no format 'jsn': did you mean json? valid: table, json, csv"
    assert refused(kind, "xml") == "there is no format 'xml': valid: table, json, csv"
    assert unknown("x", (), noun="probe") == "there is no probe 'x': valid: none"


def test_a_knob_reads_its_own_text_and_its_errors_are_told() -> None:
    def read(text: str) -> int:
        raise KnobError("set level", why=f"{text} is too much", valid="1..3")

    assert Setting("n", int).convert("7", None, None) == 7
    assert refused(Setting("n", int), "x") == "'x' is no integer: give a number, as 100"
    assert refused(Setting("level", read), "9") == "set level: 9 is too much: valid: 1..3"


def test_a_descriptor_has_to_be_open_for_writing() -> None:
    read_end, write_end = os.pipe()
    try:
        assert Descriptor().convert(str(write_end), None, None) == write_end
        assert "for reading only" in refused(Descriptor(), str(read_end))
    finally:
        os.close(read_end)
        os.close(write_end)
    assert "is no open descriptor" in refused(Descriptor(), str(write_end))
    assert "is no open descriptor" in refused(Descriptor(), "x")


def test_a_dash_is_standard_output() -> None:
    """As for sonde record, and other tools; a file of that name is ./-."""
    assert Output().convert("-", None, None) is None
    assert "./-" == Output().convert("./-", None, None)
