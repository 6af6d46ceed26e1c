"""The loader as the agent sees it: started, asked, watched, ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import msgspec

import sonde
from sonde.agent.loader.channel import Channel
from sonde.agent.loader.conversation import (
    ANSWER_WITHIN_S,
    ASIDE_WITHIN_S,
    LOAD_WITHIN_S,
    Conversation,
    Wanted,
)
from sonde.agent.loader.protocol import (
    PIDS_MAX,
    Close,
    Configure,
    Count,
    Done,
    Follow,
    Followed,
    Identified,
    Identify,
    Identity,
    Ready,
    Refresh,
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
from sonde.probe import Selection
from sonde.probes import probe, probe_names

if TYPE_CHECKING:
    from sonde.agent.loader.remote_run import RemoteRun

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

OPTIONS = ("-P", "-S", "-X", "no_debug_ranges")
"""The loader's interpreter runs nothing of site's (.pth files, sitecustomize), for it has privileges, and is small."""


class Loader:
    """The process with the privileges: ``spawn`` it while there are some, then drop them and ask it.

    A context manager; ``close`` ends it, and with it everything that it attached. ``fileno`` is readable once it has
    ended by itself, was killed, or has not answered: then ``lost`` is true, ``loss`` says why, requests raise
    LoaderError, and runs can still be read, for what was attached is detached. It may be asked from several threads.
    Where it does not answer for a moment,
    ``count_runs``, ``identify``, ``refresh`` and ``follow`` raise LoaderBusyError, and may be asked again.
    """

    def __init__(self, channel: Channel, pid: int) -> None:
        """Take over a process and the socket to it; use ``spawn``."""
        self._conversation = Conversation(channel)
        self.pid = pid
        self._reaped = False
        self._reading = threading.Lock()
        self._ready: Ready | None = None
        self._trial: Map | None = None

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
            self._conversation.tell(Configure(0, capabilities, statistics, identities, user))
        except BaseException:
            self.close()
            raise
        return self

    # ---- how it does ----------------------------------------------------------------------------------------

    @property
    def ready(self) -> Ready:
        """What it kept, once it is there: waits for it. Raises LoaderError, or what kept it from narrowing itself."""
        with self._reading:
            if self._ready is None:
                reply, descriptors = self._conversation.first()
                if not isinstance(reply, Ready) or len(descriptors) != 1:
                    raise self._conversation.gone(f"begins with {type(reply).__name__}")
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
        return self._conversation.channel.fileno()

    @property
    def lost(self) -> bool:
        """Tell whether it is gone: found by looking, so ask once ``fileno`` is readable."""
        return self._conversation.lost or (self._ready is not None and self._conversation.look())

    @property
    def loss(self) -> str:
        """Say why it is lost, behind its name."""
        return self._conversation.loss

    def hurry_while(self, hurries: Callable[[], bool]) -> None:
        """Wait for it no longer than ``HURRIED_S`` in all, while that gives true."""
        self._conversation.hurries = hurries

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
            waits = self._conversation.is_over or not self._conversation.lost
            if not poll.poll(END_WITHIN_S * 1000 if waits else 0):
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

    def _ask(
        self, request: Request, kind: type[Wanted], *, within_s: float = ANSWER_WITHIN_S
    ) -> tuple[Wanted, list[int]]:
        _ = self.ready
        return self._conversation.ask(request, kind, within_s=within_s)

    # ---- life -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End it, and wait until nothing of it is attached; again is fine."""
        if self._trial is not None:
            self._trial.close()
        self._conversation.close()
        self.await_end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _spawn(descriptor: int) -> int:
    """Start the loader's process, with this descriptor, standard error, and nothing else of ours."""
    # Of the environment only where modules are: it may hold tokens, which the loader has no use for.
    places = [place for place in sys.path if os.path.isabs(place)]
    # Last, for they hold more than that: what was found by an editable package's hook, which site would install.
    found = (
        os.path.dirname(os.path.dirname(os.path.abspath(str(each.__file__)))) for each in (sonde, msgspec)
    )
    places = list(dict.fromkeys((*places, *found)))
    environment = {"PYTHONPATH": os.pathsep.join(places), "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1"}
    # Under another number it is left open there and nowhere else, whatever other threads start just now.
    theirs = 4 if descriptor == 3 else 3
    # It is first, for the descriptor may be 0 or 1 where those were closed.
    actions = [
        (os.POSIX_SPAWN_DUP2, descriptor, theirs),
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    ]
    arguments = [sys.executable, *OPTIONS, "-m", "sonde.agent.loader.process", str(theirs)]
    return os.posix_spawn(
        sys.executable, arguments, environment, file_actions=actions, setsigmask=BLOCKED, setsigdef=BLOCKED
    )
