"""The exceptions: the tree that is drawn is the tree that is, and every message says what, why and what to do."""

from __future__ import annotations

import errno
import inspect
import pickle
import re

import pytest

from sonde import errors
from sonde.errors import (
    AttachError,
    CommandError,
    ConfigError,
    KernelError,
    KnobError,
    LayoutError,
    LoaderError,
    NotSupportedError,
    PermissionDeniedError,
    ProbeError,
    SondeError,
    UnsafeObjectError,
    VerifierError,
    errno_name,
    errno_text,
)

ONE_OF_EACH: list[SondeError] = [
    SondeError("do it", why="no", hint="wait"),
    KernelError(errno.ENOENT, operation="open", subject="it", hint="look"),
    NotSupportedError("kprobe_multi", provides="Linux 5.18 with CONFIG_FPROBE"),
    PermissionDeniedError(operation="load", subject="it", capability="CAP_BPF, CAP_PERFMON"),
    VerifierError(
        subject="it",
        log="0: (95) exit\nR0 !read_ok\n",
        reason="R0 !read_ok",
        source_line="a.c:1: x",
        hint="set it",
    ),
    UnsafeObjectError("it.o", cause="mode", why="open to all", hint="chmod go-w it.o", mode=0o666, owner=0),
    LayoutError("read it", why="cut off", hint="again"),
    ProbeError("run it", why="broken"),
    AttachError("attach it", why="gone", program="p", hook="h"),
    KnobError("set knob x", why="7 is too much", knob="x", valid="0 to 3"),
    LoaderError("ask the loader", why="it has ended", hint="start the agent again"),
    ConfigError("sonde.toml", key="every", reason="no duration"),
    CommandError("measure", why="no", status=2),
]


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    """Every class is drawn once, below its base."""
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = [(-1, "Exception")]
    for line in (errors.__doc__ or "").splitlines():
        names = re.match(
            r"^ {4}([│├└─ ]*)((?:\w*Error\b[^→]*?(?: → |, )?)+?)(?:\(OSError\))?(?: {2,}.*)?$", line
        )
        if names is None or "Error" not in line:
            continue
        name = names[2].strip()
        depth = len(names[1])
        while above[-1][0] >= depth:
            above.pop()
        drawn[name] = above[-1][1]
        above.append((depth, name))
    classes = {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert drawn == {name: value.__bases__[0].__name__ for name, value in classes.items()}
    assert KernelError.__bases__ == (SondeError, OSError)


def test_one_of_each_is_tested_here() -> None:
    assert {type(error).__name__ for error in ONE_OF_EACH} == {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_survives_pickling(error: SondeError) -> None:
    """Errors are raised in worker processes, too; one that cannot be unpickled breaks the pool."""
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert again.args == error.args
    if isinstance(error, KernelError):
        assert (again.errno, again.strerror) == (error.errno, error.strerror)


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_message_holds_what_why_and_what_to_do(error: SondeError) -> None:
    text = str(error)
    assert text.startswith(error.what)
    for part in (error.why, error.hint):
        assert part in text


def test_kernel_error_is_an_os_error_with_its_number() -> None:
    """Whoever knows OSError needs no more; the sign of a libbpf result does not matter."""
    with pytest.raises(OSError, match="mount it") as caught:
        raise KernelError(-errno.ENOENT, operation="attach tracepoint", subject="x/y", hint="mount it")
    assert caught.value.errno == errno.ENOENT
    assert str(caught.value) == "attach tracepoint x/y: no such file or directory (ENOENT): mount it"


def test_missing_feature_says_what_provides_it() -> None:
    error = NotSupportedError("tcx", provides="Linux 6.6", operation="attach", subject="to eth0")
    assert str(error) == "attach to eth0: this kernel does not support tcx: it needs Linux 6.6"
    assert error.errno == errno.EOPNOTSUPP


def test_missing_capability_says_how_to_get_it() -> None:
    error = PermissionDeniedError(operation="load", subject="it", capability="CAP_BPF, CAP_PERFMON")
    assert "the process lacks CAP_BPF, CAP_PERFMON" in str(error)
    assert "AmbientCapabilities=CAP_BPF CAP_PERFMON" in str(error)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (2, "ENOENT"),
        (-2, "ENOENT"),
        (11, "EAGAIN"),
        (35, "EDEADLK"),
        (95, "EOPNOTSUPP"),
        (512, "ERESTARTSYS"),
        (524, "ENOTSUPP"),
        (4001, "LIBBPF_ERRNO__FORMAT"),
        (3999, "errno 3999"),
    ],
)
def test_error_numbers_have_the_kernel_s_names(number: int, name: str) -> None:
    """Of two names for a number, the one in include/uapi/asm-generic/errno.h."""
    assert errno_name(number) == name
    assert errno_text(number).endswith(f"({name})")


def test_verifier_error_without_a_log_is_one_line() -> None:
    error = VerifierError(errno.E2BIG, subject="p")
    assert str(error) == "load program p: the verifier rejected it: argument list too long (E2BIG)"


def test_file_name_cannot_speak_to_the_terminal() -> None:
    error = UnsafeObjectError("\x1b[2Jx.o", cause="mode", why="w")
    assert str(error).isprintable()
