"""What headings say was asked for: the options as they were typed."""

from __future__ import annotations

import os

import pytest

from sonde.cli.commands.profile import COMMAND
from sonde.cli.request import requested
from sonde.cli.selection import why_filtered
from sonde.probe import Selection
from sonde.probes.cpu.probe import PROBE

PID = str(os.getpid())


@pytest.mark.parametrize(
    "typed",
    [("-p", PID), (f"-p{PID}",), ("--pid", PID), (f"--pid={PID}",)],
    ids=["short", "short, attached", "long", "long, attached"],
)
def test_an_option_is_told_with_its_value_however_it_was_typed(typed: tuple[str, ...]) -> None:
    assert ["--no-kernel", f"--pid {PID}"] == request(*typed, "--no-kernel")


def test_the_command_is_last_as_a_shell_takes_it() -> None:
    assert ["--sort total", "-- make 'a b'"] == request("--sort=total", "--", "make", "a b")


def test_words_that_are_no_utf_8_or_no_text_are_told_as_escapes() -> None:
    """A capture, a page and a terminal take them all."""
    assert [r"--comm '\x1b[31m'", r"-- make 'a\xff\nb'"] == request(
        "--comm=\x1b[31m", "--", "make", os.fsdecode(b"a\xff\nb")
    )


def test_the_command_that_is_measured_is_told_as_escapes() -> None:
    command = (os.fsdecode(b"./\xff\x1b"),)
    why = why_filtered([], PROBE, Selection(own=True), command)
    assert r"all but ./\xff\x1b and what it starts" == why


def request(*arguments: str) -> list[str]:
    command = COMMAND.get_command(COMMAND.make_context("profile", ["cpu"]), "cpu")
    assert command is not None
    with command.make_context("cpu", list(arguments)) as context:
        return requested(context, context.obj)
