"""The loader takes the agent for an enemy: whatever it is sent, it neither ends nor loads what it was not meant to."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from kernel.agent_process import descriptors
from kernel.sonde_process import wait_until_gone
from sonde.agent.loader.conversation import LoaderBusyError
from sonde.agent.loader.loader import Loader
from sonde.agent.loader.protocol import (
    DESCRIPTORS_MAX,
    ENTRIES_MAX,
    MESSAGE_BYTES_MAX,
    PIDS_MAX,
    RUNS_MAX,
    Failed,
    Reply,
)
from sonde.errors import KernelError, LoaderError, SondeError

# What the loader makes of messages is its own doing, the same on every kernel; test_privileges.py asks the kernel.
pytestmark = pytest.mark.host_only

START = {"type": "Start", "number": 7, "probe": "syscalls", "output": "counts"}

WRONG_SHAPES: dict[str, Any] = {
    "no message": 7,
    "no type": {"number": 7},
    "unknown type": {"type": "Load", "number": 7, "path": "/tmp/x.bpf.o"},
    "an answer": {"type": "Done", "number": 7},
    "configured again": {"type": "Configure", "number": 7, "capabilities": ["CAP_SYS_ADMIN"]},
    "no probe": {"type": "Start", "number": 7},
    "a number for a name": START | {"probe": 7},
    "a long name": START | {"probe": "a" * 65},
    "an empty name": START | {"probe": ""},
    "bytes to load": START | {"content": b"\x7fELF"},
    "values of values": START | {"values": {"syscall": {"a": 1}}},
    "many values": START | {"values": {f"v{number}": 1 for number in range(65)}},
    "a long list": START | {"values": {"syscall": ["read"] * 513}},
    "a long text": START | {"values": {"syscall": "a" * 1025}},
    "no rows": START | {"max_entries": 0},
    "less than no rows": START | {"max_entries": -1},
    "many rows": START | {"max_entries": 2**40},
    "a long comm": START | {"selection": {"comm": "a" * 16}},
    "pid 0": START | {"selection": {"pid": 0}},
    "many interfaces": START | {"selection": {"interfaces": ["a"] * 257}},
    "a long interface": START | {"selection": {"interfaces": ["a" * 65]}},
    "an interface without a name": START | {"selection": {"exclude_interfaces": [""]}},
    "an interface below 0": START | {"selection": {"interfaces": [-1]}},
    "many interfaces for a run": {"type": "Select", "number": 7, "run": 1, "interfaces": ["a"] * 257},
    "news of nothing": {"type": "Follow", "number": 7},
    "a selection of more": START | {"selection": {"path": "/"}},
    "a predecessor below 0": START | {"predecessor": -1},
    "a negative number": START | {"number": -1},
    "many pids": {"type": "Identify", "number": 7, "pids": [1] * (PIDS_MAX + 1)},
    "no pids": {"type": "Identify", "number": 7, "pids": ["self"]},
    "a window without end": {"type": "Count", "number": 7, "seconds": 1e9},
    "no window": {"type": "Count", "number": 7, "seconds": float("nan")},
    "text for a variable": {"type": "SetVariable", "number": 7, "run": 1, "name": "active", "value": "1"},
}
WRONG_VALUES: dict[str, tuple[dict[str, Any], str]] = {
    "a path for a probe": (START | {"probe": "../../../tmp/evil"}, "ProbeError"),
    "a folder that is no probe": (START | {"probe": "_include"}, "ProbeError"),
    "a predecessor that is none": (START | {"predecessor": 99}, "SondeError"),
    "no output": (START | {"output": "nothing"}, "SondeError"),
    "no knob": (START | {"values": {"own_pid": 1}}, "KnobError"),
    "a knob's wrong type": (START | {"values": {"sample": "many"}}, "KnobError"),
    "a knob beyond its type": (START | {"values": {"sample": 2**40}}, "KnobError"),
    "no system call": (START | {"values": {"syscall": ["no_such_call"]}}, "KnobError"),
    "too many rows": (START | {"max_entries": ENTRIES_MAX + 1}, "KnobError"),
    "a directory that is no cgroup": (START | {"selection": {"cgroup": "/etc"}}, "SondeError"),
    "a way out of the cgroups": (START | {"selection": {"cgroup": "/sys/fs/cgroup/../../../etc"}}, "SondeError"),
    "interfaces for a probe that is on none": (START | {"selection": {"interfaces": ["lo"]}}, "KnobError"),
    "interfaces for no run": ({"type": "Select", "number": 7, "run": 9, "interfaces": ["lo"]}, "SondeError"),
    "news of no run": ({"type": "Follow", "number": 7, "run": 9}, "SondeError"),
    "a run that is none": ({"type": "Stop", "number": 7, "run": 4_000_000_000}, "SondeError"),
    "a variable of no run": ({"type": "SetVariable", "number": 7, "run": 9, "name": "x", "value": 1}, "SondeError"),
    "statistics without leave": ({"type": "Count", "number": 7, "seconds": 1.0}, "PermissionDeniedError"),
}  # fmt: skip


@pytest.fixture(scope="module")
def loader() -> Iterator[Loader]:
    with Loader.spawn(("syscalls",)) as started:
        assert ["CAP_BPF", "CAP_PERFMON"] == started.ready.kept
        yield started


@pytest.fixture(autouse=True)
def unharmed(loader: Loader) -> Iterator[None]:
    """After each: it answers, has no descriptor more, and nothing loaded."""
    loader.identify([1])
    before = descriptors(loader.pid)
    yield
    assert os.getpid() in loader.identify([os.getpid()])
    assert before == descriptors(loader.pid)
    held = [os.readlink(f"/proc/{loader.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{loader.pid}/fd")]
    assert not [name for name in held if "bpf" in name], held


def tell(loader: Loader, data: bytes, rights: tuple[int, ...] = ()) -> Failed:
    """Send bytes as they are; the refusal."""
    loader._conversation.channel.send(data, rights)
    answered = loader._conversation.channel.receive()
    assert answered is not None, "the loader has ended"
    reply = msgspec.msgpack.decode(answered[0], type=Reply)
    assert isinstance(reply, Failed), reply
    assert [] == answered[1]
    return reply


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"\xc1" * 1009,
        b"\x91" * 60_000,
        b"\xdf\xff\xff\xff\xff",
        os.urandom(4001),
        b"\x00" * MESSAGE_BYTES_MAX,
        b"A" * (MESSAGE_BYTES_MAX + 1),
        b"A" * 150_000,
    ],
    ids=["byte", "garbage", "nested", "endless map", "random", "longest", "too long", "much too long"],
)
def test_garbage_is_refused(loader: Loader, data: bytes) -> None:
    assert 0 == tell(loader, data).number


@pytest.mark.parametrize("message", WRONG_SHAPES.values(), ids=WRONG_SHAPES.keys())
def test_another_shape_is_refused(loader: Loader, message: Any) -> None:
    reply = tell(loader, msgspec.msgpack.encode(message))
    assert 0 == reply.number
    assert "ValidationError" in str(reply.state["why"])


@pytest.mark.parametrize("message", WRONG_SHAPES.values(), ids=WRONG_SHAPES.keys())
def test_a_cut_message_is_refused(loader: Loader, message: Any) -> None:
    data = msgspec.msgpack.encode(message)
    for length in range(1, len(data), max(1, len(data) // 7)):
        tell(loader, data[:length])


@pytest.mark.parametrize(("message", "kind"), WRONG_VALUES.values(), ids=WRONG_VALUES.keys())
def test_what_is_not_there_or_not_allowed_is_refused(
    loader: Loader, message: dict[str, Any], kind: str
) -> None:
    reply = tell(loader, msgspec.msgpack.encode(message))
    assert (7, kind) == (reply.number, reply.kind), reply


@pytest.mark.parametrize("count", [1, DESCRIPTORS_MAX, 253])
def test_descriptors_never_arrive(loader: Loader, count: int) -> None:
    """Whatever the message beside them says: the kernel drops them before they are the loader's."""
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        reply = tell(
            loader, msgspec.msgpack.encode({"type": "Identify", "number": 7, "pids": [1]}), (null,) * count
        )
    finally:
        os.close(null)
    assert 0 == reply.number
    assert "descriptors" in str(reply.state["why"])


def test_runs_are_bounded(loader: Loader) -> None:
    runs = [loader.start("syscalls", "counts", max_entries=16)]
    try:
        for _ in range(RUNS_MAX - 1):
            runs.append(loader.start("syscalls", "counts", max_entries=16))
        with pytest.raises(SondeError, match="outputs run already"):
            loader.start("syscalls", "counts", max_entries=16)
    finally:
        for run in runs:
            run.close()


def test_an_empty_datagram_is_the_end() -> None:
    """On such a socket it cannot be told from one: the loader ends as when the agent does."""
    with Loader.spawn(("syscalls",)) as other:
        assert other.ready
        other._conversation.channel.send(b"")
        assert wait_until_gone([other.pid], 60)


def test_an_agent_that_never_listens_stops_nobody_but_itself() -> None:
    """Answers that nobody takes fill the socket; its end ends the loader all the same."""
    with Loader.spawn(("syscalls",)) as other:
        assert other.ready
        request = msgspec.msgpack.encode({"type": "Identify", "number": 7, "pids": [os.getpid()] * PIDS_MAX})
        sent = 0
        with socket.socket(fileno=os.dup(other.fileno())) as same:
            same.settimeout(0.5)
            try:
                while sent < 100_000:
                    same.send(request)
                    sent += 1
            except TimeoutError:
                assert sent
            same.settimeout(None)
        assert sent < 100_000
        other._conversation.channel.close()
        assert wait_until_gone([other.pid], 60)


def test_a_loader_that_is_stopped_for_a_while_is_not_waited_for() -> None:
    """What can be left is left, and once it goes on the late answer is nobody's."""
    with Loader.spawn(("syscalls",), identities=True) as other, other.start("syscalls", "counts") as run:
        os.kill(other.pid, signal.SIGSTOP)
        for _ in range(2):
            with pytest.raises(LoaderBusyError):
                other.identify([os.getpid()])
        assert not other.lost
        run.read()
        os.kill(other.pid, signal.SIGCONT)
        assert list(other.identify([os.getppid()])) == [os.getppid()]
        run.stop()
        account = run.read().accounting
        assert account.final
        assert account.balanced


@pytest.mark.parametrize(("name", "output"), [("syscalls", "counts"), ("tcp", "processes"), ("cpu", None)])
def test_a_loader_that_is_silent_is_lost_and_ends(
    monkeypatch: pytest.MonkeyPatch, name: str, output: str | None
) -> None:
    """Whoever waits at its descriptor hears of it; what it had counted can be read, also where reading asks it."""
    monkeypatch.setattr("sonde.agent.loader.conversation.ANSWER_WITHIN_S", 0.5)
    with Loader.spawn((name,), identities=True) as other, other.start(name, output, differences=True) as run:
        os.kill(other.pid, signal.SIGSTOP)
        run.read()
        with pytest.raises(LoaderError, match="it does not answer"):
            other.identify([os.getpid()])
        assert select.select([other], [], [], 0)[0]
        assert other.lost
        run.stop()
        assert wait_until_gone([other.pid])
        account = run.read().accounting
        assert account.final
        assert account.balanced


def test_what_cannot_be_stopped_in_order_is_final_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader may want memory for an iterator, say: freed, the run is detached, and what it counted is read."""

    def stop(_: Loader, run: int) -> int:
        raise KernelError(errno.ENOMEM, operation="run", subject=f"iterator of run {run}")

    with Loader.spawn(("syscalls",)) as other, other.start("syscalls", "counts") as run:
        monkeypatch.setattr(Loader, "stop", stop)
        run.stop()
        account = run.read().accounting
        assert account.final
        assert account.balanced
        assert not other.lost


def test_a_first_message_that_is_no_configuration_ends_it(tmp_path: Any) -> None:
    """It has its privileges until it is configured, and does nothing before."""
    from sonde.agent.loader.channel import Channel
    from sonde.agent.loader.loader import _spawn

    ours, theirs = Channel.pair()
    with theirs:
        assert isinstance(theirs, socket.socket)
        pid = _spawn(theirs.fileno())
    ours.send(msgspec.msgpack.encode(START))
    assert ours.receive() is None
    assert 0 != os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
