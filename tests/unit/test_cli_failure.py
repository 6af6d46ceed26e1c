"""What a failure is to the person at the command line."""

from __future__ import annotations

import errno

import click
import pytest

from sonde.cli.failure import ReaderGoneError
from sonde.cli.misuse import FORESEEN_OF_COMMANDS, status_after
from sonde.errors import (
    AttachError,
    CommandError,
    ConfigError,
    KernelError,
    KnobError,
    NotSupportedError,
    SondeError,
    UnsafeObjectError,
    VerifierError,
)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (SondeError("do it", why="no"), 1, "sonde: do it: no\n"),
        (KernelError(errno.ENOENT, operation="open", subject="x"), 1, "sonde: open x: no such file or directory (ENOENT)\n"),
        (NotSupportedError("kprobe", provides="CONFIG_KPROBES=y"), 1, "sonde: use kprobe: this kernel does not support kprobe: it needs CONFIG_KPROBES=y\n"),
        (AttachError("attach p", why="no"), 1, "sonde: attach p: no\n"),
        (UnsafeObjectError("x.o", cause="mode", why="it is open"), 1, "sonde: load x.o: it is open\n"),
        (VerifierError(subject="p", reason="invalid access"), 1, "sonde: load program p: the verifier rejected it: invalid access\n"),
        (KnobError("set x", why="no", valid="1..3"), 2, "sonde: set x: no: valid: 1..3\n"),
        (ConfigError("file", key="a", reason="no"), 2, "sonde: file: a: no\n"),
        (CommandError("start x", why="no", status=127), 127, "sonde: start x: no\n"),
        (click.UsageError("Bad thing."), 2, "sonde: bad thing\n"),
        (OSError(errno.EIO, "x", "/dev/y"), 1, "sonde: /dev/y: input/output error (EIO)\n"),
        (MemoryError(), 1, "sonde: there is not enough memory: give fewer entries (--max-entries) or a smaller --limit\n"),
        (ReaderGoneError(), 141, ""),
        (click.exceptions.Exit(3), 3, ""),
    ],
)  # fmt: skip
def test_each_failure_is_a_sentence_and_a_status(
    error: Exception, status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(error, FORESEEN_OF_COMMANDS)
    assert status_after(error) == status
    assert capsys.readouterr() == ("", words)


def test_a_bug_is_not_foreseen() -> None:
    """A traceback is right for what no user can cause."""
    assert not isinstance(KeyError("x"), FORESEEN_OF_COMMANDS)
    assert not isinstance(TypeError("x"), FORESEEN_OF_COMMANDS)
