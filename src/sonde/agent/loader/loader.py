"""The loader as the agent sees it: started, asked, watched, ended."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from sonde.agent.loader.channel import Channel, OversizedError
from sonde.agent.loader.failure import error_of
from sonde.agent.loader.protocol import (
    PIDS_MAX,
    Answer,
    Close,
    Configure,
    Count,
    Done,
    Failed,
    Follow,
    Followed,
    Identified,
    Identify,
    Identity,
    Ready,
    Refresh,
    Reply,
    Request,
    Select,
    Selected,
    SetVariable,
    Start,
    Started,
    Stop,
    Stopped,
)
from sonde.bpf.map import Map, MapShape, wrap_map
from sonde.errors import LoaderBusyError, LoaderError
from sonde.probe import Selection
from sonde.probes import probe, probe_names

if TYPE_CHECKING:
    from sonde.agent.loader.remote_run import RemoteRun

LOG = logging.getLogger("sonde.agent")
LOAD_WITHIN_S, ANSWER_WITHIN_S = 120.0, 30.0
"""Loading takes milliseconds, and seconds on an emulated processor; the rest is little work. A loader that is silent for
so long does not live any more, or might as well not."""
ASIDE_WITHIN_S = 1.0
"""How long it is waited for with a question that can be left."""
HURRIED_S, SLICE_S = 1.5, 0.1
"""How long it may take once the agent is to end; how often that is looked at."""
END_WITHIN_S = 5.0

BLOCKED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGPIPE,
)
"""Signals that are the agent's alone; the loader is told by the end of its socket."""

TRIAL = MapShape("sonde_trial", "array", 4, 4, 1)

Wanted = TypeVar("Wanted", bound=Answer)


class Loader:
    """The process with the privileges: ``spawn`` it while there are some, then drop them and ask it.

    A context manager; ``close`` ends it, and with it everything that it attached. ``fileno`` is readable once it has
    ended by itself, was killed, or has not answered: then ``lost`` is true, ``loss`` says why, requests raise
    LoaderError, and runs can still be read, for what was attached is detached. It may be asked from several threads.
    While ``hurries`` gives true it is not waited for as long as else. Where it does not answer for a moment,
    ``count_runs``, ``identify``, ``refresh`` and ``follow`` raise LoaderBusyError, and may be asked again.
    """

    def __init__(self, channel: Channel, pid: int) -> None:
        """Take over a process and the socket to it; use ``spawn``."""
        self._channel = channel
        self.pid = pid
        self._lock = threading.Lock()
        self._number = self._owed = 0
        self._silent_s = 0.0
        self._lost = self._is_silent = self._reaped = False
        self.loss = "has ended"
        self.hurries: Callable[[], bool] = lambda: False
        self._ready: Ready | None = None
        self._trial: Map | None = None
        self._encoder = msgspec.msgpack.Encoder()
        self._replies = msgspec.msgpack.Decoder(Reply)

    @classmethod
    def spawn(
        cls,
        probes: Iterable[str] | None = None,
        *,
        statistics: bool = False,
        identities: bool = False,
        user: str | None = None,
    ) -> Self:
        """Start the process; it keeps the capabilities that these probes name (None: all packaged ones).

        ``statistics`` adds CAP_SYS_ADMIN for ``count_runs``, ``identities`` CAP_SYS_PTRACE for ``identify``, each held
        back until it is needed. ``user`` is whose process it becomes, where it is root's. It returns at once: ``ready``
        waits. Raises ProbeError for a probe that is none, OSError when no process can be started.
        """
        names = tuple(probe_names() if probes is None else probes)
        capabilities = list(dict.fromkeys(each for name in names for each in probe(name).capabilities))
        channel, theirs = Channel.pair()
        try:
            with theirs:
                pid = _spawn(theirs.fileno())
        except BaseException:
            channel.close()
            raise
        self = cls(channel, pid)
        try:
            channel.send(self._encoder.encode(Configure(0, capabilities, statistics, identities, user)))
        except BaseException:
            self.close()
            raise
        return self

    # ---- how it does ----------------------------------------------------------------------------------------

    @property
    def ready(self) -> Ready:
        """What it kept, once it is there: waits for it. Raises LoaderError, or what kept it from narrowing itself."""
        with self._lock:
            if self._ready is None:
                reply, descriptors = self._receive(0, LOAD_WITHIN_S)
                if isinstance(reply, Failed):
                    raise error_of(reply)
                if not isinstance(reply, Ready) or len(descriptors) != 1:
                    raise self._gone(f"begins with {type(reply).__name__}")
                self._ready = reply
                self._trial = wrap_map(TRIAL, descriptors[0], None)
            return self._ready

    def try_reading(self) -> None:
        """Read a map of the loader's: PermissionDeniedError where this process may not (``drop_privileges``' trial)."""
        _ = self.ready
        assert self._trial is not None
        self._trial.lookup_bytes(bytes(4))

    def fileno(self) -> int:
        """Give a descriptor that is readable once the loader is gone; -1 after ``close``."""
        return self._channel.fileno()

    @property
    def lost(self) -> bool:
        """Tell whether it is gone: found by looking, so ask once ``fileno`` is readable."""
        # Unasked it says nothing: what is readable between requests is the end.  While somebody asks it answers.
        if not self._lost and self._ready is not None and self._lock.acquire(blocking=False):
            try:
                poll = select.poll()
                poll.register(self._channel.fileno(), select.POLLIN)
                self._lost = bool(poll.poll(0))
            finally:
                self._lock.release()
        return self._lost

    def await_end(self) -> None:
        """Wait until a lost loader's process has ended, and with it what it attached; ends it by force if it lives on."""
        if self._reaped:
            return
        self._reaped = True
        try:
            end = os.pidfd_open(self.pid)
        except ProcessLookupError:  # somebody else has waited for it
            return
        try:
            poll = select.poll()
            poll.register(end, select.POLLIN)
            # One that does not answer will not hear either that it is to end.
            if not poll.poll(0 if self._is_silent else END_WITHIN_S * 1000):
                signal.pidfd_send_signal(end, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
        finally:
            os.close(end)

    # ---- what it does ---------------------------------------------------------------------------------------

    def start(
        self,
        probe_name: str,
        output: str | None = None,
        *,
        selection: Selection | None = None,
        values: Mapping[str, Any] | None = None,
        max_entries: int | None = None,
        differences: bool = False,
        predecessor: RemoteRun | None = None,
    ) -> RemoteRun:
        """Have an output of a packaged probe load, attach and count; arguments as ``Run``'s. The caller closes the run.

        From the moment on at which it counts a ``predecessor`` that ``can_be_succeeded`` does not, without a gap; to stop
        that is the caller's, too. Raises what ``Run.start`` raises, and LoaderError.
        """
        from sonde.agent.loader.remote_run import RemoteRun

        chosen, given = selection or Selection(), dict(values or {})
        selected = Selected(
            chosen.pid,
            chosen.children,
            chosen.cgroup,
            chosen.comm,
            chosen.own,
            list(chosen.interfaces),
            list(chosen.exclude_interfaces),
        )
        plain = {
            name: list(value) if isinstance(value, list | tuple | set | frozenset) else value
            for name, value in given.items()
            if value is not None
        }
        former = None if predecessor is None else predecessor.number
        asked = Start(0, probe_name, output, selected, plain, max_entries, former)
        started, descriptors = self._ask(asked, Started, within_s=LOAD_WITHIN_S)
        return RemoteRun(
            self,
            probe(probe_name),
            output,
            started,
            descriptors,
            values=given,
            follows=chosen.children,
            differences=differences,
        )

    def stop(self, run: int) -> int:
        """Have a run count no more; gives what the kernel has skipped by then. RemoteRun's."""
        return self._ask(Stop(0, run), Stopped)[0].skipped_at_end

    def free(self, run: int) -> None:
        """Have a run freed. RemoteRun's."""
        self._ask(Close(0, run), Done)

    def refresh(self, run: int) -> None:
        """Have a run's table brought up to date. RemoteRun's."""
        self._ask(Refresh(0, run), Done, within_s=ASIDE_WITHIN_S)

    def set_variable(self, run: int, name: str, value: int) -> None:
        """Set a live global of a run. RemoteRun's."""
        self._ask(SetVariable(0, run, name, value), Done)

    def select(self, run: int, selection: Selection) -> None:
        """Put a run on other interfaces. RemoteRun's."""
        interfaces, excluded = list(selection.interfaces), list(selection.exclude_interfaces)
        self._ask(Select(0, run, interfaces, excluded), Done)

    def follow(self, run: int, number_last: int) -> Followed:
        """Ask what has become of a run's interfaces since the one of that number. RemoteRun's."""
        return self._ask(Follow(0, run, number_last), Followed, within_s=ASIDE_WITHIN_S)[0]

    def count_runs(self, seconds: float) -> None:
        """Have the kernel count runs and run time of all programs, for so long at most (10 s); 0 ends it.

        Needs ``statistics`` at ``spawn``. It costs (DESIGN.md, "Cost"): open short windows.
        """
        self._ask(Count(0, seconds), Done, within_s=ASIDE_WITHIN_S)

    def identify(self, pids: Sequence[int]) -> dict[int, Identity]:
        """Ask who processes are; those that are gone are not in the answer. ``executable`` needs ``identities``."""
        found: dict[int, Identity] = {}
        left = list(pids)
        while left:
            asked = Identify(0, left[:PIDS_MAX])
            answer, _ = self._ask(asked, Identified, within_s=ASIDE_WITHIN_S)
            found |= {each.pid: each for each in answer.identities}
            left = left[max(1, answer.considered) :]
        return found

    # ---- the wire -------------------------------------------------------------------------------------------

    def _ask(
        self, request: Request, kind: type[Wanted], *, within_s: float = ANSWER_WITHIN_S
    ) -> tuple[Wanted, list[int]]:
        _ = self.ready
        with self._lock:
            if self._lost:
                raise self._gone(self.loss)
            self._settle(within_s)
            self._number = self._number % (2**32 - 1) + 1
            numbered = msgspec.structs.replace(request, number=self._number)
            try:
                self._channel.send(self._encoder.encode(numbered))
            except OSError as error:
                raise self._gone("has ended") from error
            reply, descriptors = self._receive(self._number, within_s)
        if isinstance(reply, Failed):
            raise error_of(reply)
        if not isinstance(reply, kind):
            for fd in descriptors:
                os.close(fd)
            raise self._gone(f"answers {type(reply).__name__} where {kind.__name__} is due")
        return reply, descriptors

    def _settle(self, within_s: float) -> None:
        """Take the answer that is owed to a question which was left, before the next is asked."""
        if self._owed:
            _, descriptors = self._receive(self._owed, within_s)
            for fd in descriptors:
                os.close(fd)
            LOG.info("the loader answers again")

    def _receive(self, number: int, within_s: float) -> tuple[Answer, list[int]]:
        self._owed = number
        self._await(within_s)
        self._owed, self._silent_s = 0, 0.0
        try:
            received = self._channel.receive()
        except (OSError, OversizedError) as error:
            raise self._gone("says what cannot be read") from error
        if received is None:
            raise self._gone("has ended")
        data, descriptors = received
        reply: Answer | None = None
        try:
            reply = found = self._replies.decode(data)
        except msgspec.MsgspecError as error:
            why = f"says what cannot be read: {error}"
        else:
            why = f"answers request {found.number} where {number} was asked"
        # 0 is the answer to a request that it could not read: ours are read, unless one is too long.
        if reply is None or (reply.number != number and not isinstance(reply, Failed)):
            for fd in descriptors:
                os.close(fd)
            raise self._gone(why)
        return reply, descriptors

    def _await(self, within_s: float) -> None:
        """Wait for an answer; counts slices and no clock: where both of us were frozen, one of them was long."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        left_s = within_s
        while not poll.poll(SLICE_S * 1000):
            left_s -= SLICE_S
            self._silent_s += SLICE_S
            if self.hurries():
                left_s = min(left_s, HURRIED_S)
            if left_s > 0:
                continue
            if within_s <= ASIDE_WITHIN_S and self._silent_s < ANSWER_WITHIN_S:
                if self._silent_s < 2 * within_s:
                    LOG.warning("the loader does not answer just now")
                why = "it does not answer just now"
                raise LoaderBusyError(
                    "ask the loader", why=why, hint="is it stopped, or the machine too busy?"
                )
            # Whoever waits at ``fileno`` hears of it, and so does the loader, if it ever goes on.
            self._is_silent = True
            self._channel.shut()
            raise self._gone("does not answer")

    def _gone(self, why: str) -> LoaderError:
        self._lost, self.loss = True, why
        return LoaderError("ask the loader", why=f"it {why}", hint="end the agent and start it again")

    # ---- life -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End it, and wait until nothing of it is attached; again is fine."""
        self._lost = True
        if self._trial is not None:
            self._trial.close()
        self._channel.close()
        self.await_end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _spawn(descriptor: int) -> int:
    """Start the loader's process, with this descriptor, standard error, and nothing else of ours."""
    # Of the environment only where modules are: it may hold tokens, which the loader has no use for.
    places = os.pathsep.join(place for place in sys.path if os.path.isabs(place))
    environment = {"PYTHONPATH": places, "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1"}
    # Under another number it is left open there and nowhere else, whatever other threads start just now.
    theirs = 4 if descriptor == 3 else 3
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, descriptor, theirs),
    ]
    arguments = [sys.executable, "-P", "-m", "sonde.agent.loader.process", str(theirs)]
    return os.posix_spawn(
        sys.executable, arguments, environment, file_actions=actions, setsigmask=BLOCKED, setsigdef=BLOCKED
    )
