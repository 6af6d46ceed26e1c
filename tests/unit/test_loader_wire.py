"""The wire between agent and loader: exceptions, bounds, ends."""

from __future__ import annotations

import errno
import os
import socket

import msgspec
import pytest

from sonde.agent.loader.channel import Channel, OversizedError
from sonde.agent.loader.failure import TEXT_MAX, error_of, failure_of
from sonde.agent.loader.identities import identity_of
from sonde.agent.loader.protocol import MESSAGE_BYTES_MAX, Failed, Question, Reply
from sonde.errors import (
    AttachError,
    KernelError,
    KnobError,
    NotSupportedError,
    PermissionDeniedError,
    SondeError,
    UnsafeObjectError,
    VerifierError,
)

ERRORS = [
    SondeError("do it", why="no", hint="wait"),
    KernelError(errno.ENOENT, operation="open", subject="it", hint="look"),
    NotSupportedError("kprobe_multi", provides="Linux 5.18 with CONFIG_FPROBE"),
    PermissionDeniedError(operation="load", subject="it", capability="CAP_BPF, CAP_PERFMON"),
    VerifierError(
        subject="it", log="0: (95) exit\n", reason="R0 !read_ok", source_line="a.c:1: x", hint="set it"
    ),
    UnsafeObjectError("it.o", cause="mode", why="open to all", hint="chmod go-w it.o", mode=0o666, owner=0),
    AttachError("attach it", why="gone", program="p", hook="h"),
    KnobError("set knob x", why="7 is too much", knob="x", valid="0 to 3"),
]


def over_the_wire(error: Exception) -> SondeError:
    reply = msgspec.msgpack.decode(msgspec.msgpack.encode(failure_of(error, 7)), type=Reply)
    assert isinstance(reply, Failed)
    assert 7 == reply.number
    return error_of(reply)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_exception_arrives_as_what_it_was(error: SondeError) -> None:
    """Class, words, number and attributes: the agent's messages are as good as the loader's."""
    again = over_the_wire(error)
    assert type(error) is type(again)
    assert str(error) == str(again)
    assert vars(error) == vars(again)
    assert error.args == again.args


def test_notes_arrive_too() -> None:
    error = SondeError("load it")
    error.add_note("variant raw_tp: no")
    assert ["variant raw_tp: no"] == over_the_wire(error).__notes__


def test_what_is_not_ours_says_what_it_was() -> None:
    assert "do what the agent asked: ZeroDivisionError: x" == str(over_the_wire(ZeroDivisionError("x")))


def test_a_long_log_is_cut_to_a_message() -> None:
    """Its end stays, which has the verdict."""
    error = VerifierError(
        subject="it", log="line\n" * 1_000_000 + "the verdict", reason="r" * 10**6, hint="h" * 10**6
    )
    for number in range(100):
        error.add_note(f"note {number}" * 10_000)
    data = msgspec.msgpack.encode(failure_of(error, 7))
    assert len(data) < MESSAGE_BYTES_MAX
    again = over_the_wire(error)
    assert isinstance(again, VerifierError)
    assert again.log.endswith("the verdict")
    assert TEXT_MAX == len(again.log)


@pytest.mark.parametrize("kind", ["os", "SystemExit", "errno_name", "__builtins__", "nothing"])
def test_an_answer_names_no_class_but_ours(kind: str) -> None:
    assert isinstance(error_of(Failed(7, kind, [], {"what": "x", "why": "", "hint": ""})), SondeError)


def test_the_end_of_the_other_side_is_the_end() -> None:
    ours, theirs = Channel.pair()
    theirs.close()
    assert ours.receive() is None
    with pytest.raises(BrokenPipeError):
        ours.send(b"x")
    ours.close()
    assert -1 == ours.fileno()


def test_a_long_datagram_is_refused_and_the_next_one_is_read() -> None:
    ours, theirs = Channel.pair()
    with theirs:
        theirs.send(b"x" * (MESSAGE_BYTES_MAX + 1))
        theirs.send(b"y")
        with pytest.raises(OversizedError):
            ours.receive()
        assert (b"y", []) == ours.receive()
        ours.close()


def test_more_descriptors_than_were_asked_for_leave_none_open() -> None:
    ours, theirs = Channel.pair()
    wanted = Channel(theirs, descriptors_max=2)
    null = os.open("/dev/null", os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    ours.send(b"x", [null] * 3)
    with pytest.raises(OversizedError):
        wanted.receive()
    assert before == len(os.listdir("/proc/self/fd"))
    ours.send(b"x", [null] * 2)
    received = wanted.receive()
    assert received is not None
    assert 2 == len(received[1])
    for fd in received[1]:
        assert not os.get_inheritable(fd)
        os.close(fd)
    for each in (ours, wanted):
        each.close()
    os.close(null)


def test_the_protocol_has_no_message_for_paths_or_code() -> None:
    """What the loader can be asked is this, and no field of it is a file."""
    fields = {
        (kind.__name__, field)
        for kind in Question.__args__
        for field in kind.__struct_fields__
        if field != "number"
    }
    assert {
        ("Start", "probe"), ("Start", "output"), ("Start", "selection"), ("Start", "values"),
        ("Start", "max_entries"), ("Start", "predecessor"), ("Stop", "run"), ("Close", "run"), ("Refresh", "run"), ("SetVariable", "run"),
        ("Select", "run"), ("Select", "interfaces"), ("Select", "exclude_interfaces"),
        ("Follow", "run"), ("Follow", "number_last"),
        ("SetVariable", "name"), ("SetVariable", "value"), ("Count", "seconds"), ("Identify", "pids"),
    } == fields  # fmt: skip


def test_who_this_process_is() -> None:
    found = identity_of(os.getpid())
    assert found is not None
    assert (os.getpid(), os.getppid(), os.geteuid()) == (found.pid, found.parent, found.user)
    assert os.readlink("/proc/self/exe").encode() == found.executable
    assert identity_of(4194303) is None


def test_datagrams_are_what_the_pair_is_of() -> None:
    ours, theirs = Channel.pair()
    with theirs:
        assert socket.SOCK_SEQPACKET == theirs.type
        theirs.send(b"a")
        theirs.send(b"b")
        assert (b"a", []) == ours.receive()
        assert (b"b", []) == ours.receive()
    ours.close()
