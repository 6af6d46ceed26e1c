"""What headings say was asked for: the options as they were typed."""

from __future__ import annotations

import os

import pytest

from sonde.cli.commands.profile import COMMAND
from sonde.cli.request import requested

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


def request(*arguments: str) -> list[str]:
    command = COMMAND.get_command(COMMAND.make_context("profile", ["cpu"]), "cpu")
    assert command is not None
    with command.make_context("cpu", list(arguments)) as context:
        return requested(context, context.obj)
