"""The loader: a process that loads packaged probes when it is asked to, and has the privileges for that and no others.

Started by ``Loader.spawn`` as ``python -m sonde.agent.loader.process FD``. It ends when the agent does, or closes the
socket; then nothing stays attached. Signals are blocked in it: a Ctrl-C or a service manager's SIGTERM is for the
agent, which has totals to deliver before it lets go.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import sys
import time
from contextlib import nullcontext

import msgspec

from sonde._libbpf import lib
from sonde.agent.loader.channel import Channel, OversizedError
from sonde.agent.loader.failure import failure_of
from sonde.agent.loader.identities import NAME_BYTES_MAX, identity_of
from sonde.agent.loader.protocol import (
    DESCRIPTORS_MAX,
    ENTRIES_MAX,
    INTERFACES_MAX,
    MESSAGE_BYTES_MAX,
    RUNS_MAX,
    Close,
    Configure,
    Count,
    Done,
    Follow,
    Followed,
    Identified,
    Identify,
    Identity,
    InterfacePlaced,
    MapPassed,
    Question,
    Ready,
    Refresh,
    Reply,
    Select,
    Selected,
    SetVariable,
    Start,
    Started,
    Stop,
    Stopped,
)
from sonde.agent.privileges import close_inherited, narrow_privileges, raised
from sonde.bpf.capabilities import missing
from sonde.bpf.map import Map, MapShape, create_map
from sonde.bpf.program import RunStatistics
from sonde.errors import KnobError, PermissionDeniedError, SondeError
from sonde.probe import Selection, Table
from sonde.probes import probe
from sonde.run.control import RunControl

CGROUPS = "/sys/fs/cgroup"
STATISTICS, IDENTITIES = "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"
"""What BPF_ENABLE_STATS takes (kernel commit d46edd671a14), and /proc/PID/exe of another user's process."""

TRIAL = MapShape("sonde_trial", "array", 4, 4, 1)
"""What the agent tries to read, before it gives up what reading may take."""

IDENTITY_BYTES = 128
"""More than an identity takes in a message beside its names."""

NOTE_MAX = 200
"""Of why an interface is not attached as asked for so many characters are told."""

Answered = tuple[Reply, list[int]]


class LoaderProcess:
    """Answers the agent, one request after the other, until it is gone."""

    def __init__(self, channel: Channel, agent_pid: int) -> None:
        """Serve the agent at the other end of ``channel``; its process's events are sonde's own."""
        self._channel = channel
        self._agent_pid = agent_pid
        self._kept: tuple[str, ...] = ()
        self._runs: dict[int, RunControl] = {}
        self._run_last = 0
        self._statistics: RunStatistics | None = None
        self._statistics_end = 0.0
        self._questions = msgspec.msgpack.Decoder(Question)
        self._encoder = msgspec.msgpack.Encoder()

    def serve(self) -> None:
        """Be configured, then answer; returns when the agent is gone, with nothing attached."""
        agent = os.pidfd_open(self._agent_pid)
        try:
            if self._configure():
                while self._wait(agent):
                    self._answer_next()
        except BrokenPipeError:
            return
        finally:
            os.close(agent)
            self._count(Count(0, 0.0))
            for run in self._runs.values():
                run.close()

    def _configure(self) -> bool:
        received = self._channel.receive()
        if received is None:
            return False
        wanted = msgspec.msgpack.decode(received[0], type=Configure)
        _raise_limits()
        extra = [
            name for name, on in ((STATISTICS, wanted.statistics), (IDENTITIES, wanted.identities)) if on
        ]
        try:
            left = narrow_privileges(effective=wanted.capabilities, on_request=extra, user=wanted.user)
            self._kept = left.kept
            if lacking := missing(wanted.capabilities):
                raise PermissionDeniedError(operation="load probes", capability=", ".join(lacking))
            with create_map(TRIAL) as trial:
                self._send(Ready(wanted.number, list(left.kept), list(left.notes)), [trial.fd])
        except SondeError as error:
            self._send(failure_of(error, wanted.number), [])
            return False
        return True

    # ---- the loop -------------------------------------------------------------------------------------------

    def _wait(self, agent: int) -> bool:
        """Wait for a request; False when the agent is gone."""
        poll = select.poll()
        for fd in (self._channel.fileno(), agent):
            poll.register(fd, select.POLLIN)
        while True:
            left_ms = None
            if self._statistics is not None:
                left_ms = max(0.0, self._statistics_end - time.monotonic()) * 1000
            ready = [fd for fd, _ in poll.poll(left_ms)]
            if not ready:
                self._count(Count(0, 0.0))
            else:
                return agent not in ready

    def _answer_next(self) -> None:
        number = 0
        try:
            received = self._channel.receive()
            if received is None:
                raise BrokenPipeError
            question = self._questions.decode(received[0])
            number = question.number
            reply, descriptors = self._answer(question)
        except BrokenPipeError:
            raise
        except OversizedError:
            error = SondeError("read the agent's request", why="it is too long, or carries descriptors")
            reply, descriptors = failure_of(error, 0), []
        except Exception as error:  # noqa: BLE001 - whatever the agent sends, the next request may be an honest one
            reply, descriptors = failure_of(error, number), []
        self._send(reply, descriptors)

    def _send(self, reply: Reply, descriptors: list[int]) -> None:
        try:
            self._channel.send(self._encoder.encode(reply), descriptors)
        except ConnectionResetError:
            raise BrokenPipeError from None

    def _answer(self, question: Question) -> Answered:
        match question:
            case Start():
                return self._start(question)
            case Stop():
                run = self._run(question.run)
                run.stop()
                return Stopped(question.number, run.skipped_at_end), []
            case Close():
                if (closing := self._runs.pop(question.run, None)) is not None:
                    closing.close()
            case Refresh():
                self._run(question.run).refresh()
            case SetVariable():
                self._run(question.run).set_variable(question.name, question.value)
            case Select():
                chosen = Selection(
                    interfaces=tuple(question.interfaces),
                    exclude_interfaces=tuple(question.exclude_interfaces),
                )
                self._run(question.run).select(chosen)
            case Follow():
                return self._followed(question), []
            case Count():
                self._count(question)
            case Identify():
                return self._identify(question)
        return Done(question.number), []

    # ---- what it does ---------------------------------------------------------------------------------------

    def _run(self, number: int) -> RunControl:
        run = self._runs.get(number)
        if run is None:
            raise SondeError(f"use run {number}", why="there is none of that number")
        return run

    def _start(self, asked: Start) -> Answered:
        if len(self._runs) >= RUNS_MAX:
            raise SondeError(f"start probe {asked.probe}", why=f"{RUNS_MAX} outputs run already")
        declared = probe(asked.probe)
        if asked.output is not None and asked.output not in {each.name for each in declared.outputs}:
            raise SondeError(f"start probe {asked.probe}", why=f"it has no output {asked.output}")
        run = RunControl(
            declared,
            asked.output,
            selection=_selection(asked.selection),
            values=asked.values,
            max_entries=asked.max_entries,
            own_pid=self._agent_pid,
        )
        if (
            isinstance(run.output, Table)
            and asked.max_entries is not None
            and asked.max_entries > ENTRIES_MAX
        ):
            raise KnobError(
                f"start probe {asked.probe}", why=f"{asked.max_entries} rows", valid=f"1..{ENTRIES_MAX}"
            )
        run.start(predecessor=None if asked.predecessor is None else self._run(asked.predecessor))
        # Opening an object and the kernel's types takes megabytes for a moment.
        lib.sonde_give_back_memory()
        try:
            return self._started(asked, run)
        except BaseException:
            run.close()
            raise

    def _started(self, asked: Start, run: RunControl) -> Answered:
        loaded, told = run.loaded, run.describe()
        maps = [each for each in loaded.maps.values() if _is_read(each)]
        descriptors = [*(each.fd for each in maps), *(each.fd for each in loaded.programs.values())]
        if len(descriptors) > DESCRIPTORS_MAX:
            raise SondeError(f"start probe {asked.probe}", why=f"it has {len(descriptors)} maps and programs")
        self._run_last += 1
        self._runs[self._run_last] = run
        started = Started(
            asked.number,
            run=self._run_last,
            variant=told["variant"],
            maps=[_passed(each) for each in maps],
            programs=list(loaded.programs),
            hooks=told["hooks"],
            skipped_before=run.skipped_before,
            is_on_interfaces=run.interfaces is not None,
            described={name: value for name, value in told.items() if isinstance(value, int)},
        )
        return started, descriptors

    def _followed(self, asked: Follow) -> Followed:
        found = self._run(asked.run).interfaces
        if found is None:
            return Followed(asked.number, [], [])
        news = [
            InterfacePlaced(
                each.interface.index,
                each.interface.name,
                each.ingress,
                each.egress,
                each.note[:NOTE_MAX],
                each.number,
                each.is_here,
            )
            for each in found.since(asked.number_last, INTERFACES_MAX)
        ]
        return Followed(asked.number, news, list(found.waits_for()))

    def _count(self, asked: Count) -> None:
        """Open or close the window of run-time statistics; one that is open gets a new end."""
        if not asked.seconds:
            if self._statistics is not None:
                self._statistics.close()
                self._statistics = None
            return
        if self._statistics is None:
            with raised(STATISTICS):
                self._statistics = RunStatistics()
        self._statistics_end = time.monotonic() + asked.seconds

    def _identify(self, asked: Identify) -> Answered:
        found: list[Identity] = []
        considered = room = 0
        # Without the capability it is as much as this user may see.
        with raised(IDENTITIES) if IDENTITIES in self._kept else nullcontext():
            for pid in asked.pids:
                each = identity_of(pid)
                considered += 1
                if each is None:
                    continue
                found.append(each)
                room += IDENTITY_BYTES + len(each.comm) + len(each.executable) + len(each.cgroup)
                if room + IDENTITY_BYTES + 2 * NAME_BYTES_MAX > MESSAGE_BYTES_MAX:
                    break
        return Identified(asked.number, found, considered), []


def _raise_limits() -> None:
    """Allow as much locked memory as there is, and as many descriptors as this process may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Before Linux 5.11 maps count against it; to raise it takes CAP_SYS_RESOURCE, which is given up next.
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        return


def _selection(asked: Selected) -> Selection:
    cgroup = asked.cgroup
    if cgroup is not None and not (cgroup == os.path.normpath(cgroup) and cgroup.startswith(f"{CGROUPS}/")):
        raise SondeError(f"select cgroup {cgroup!r}", why=f"it is no directory below {CGROUPS}")
    return Selection(
        pid=asked.pid,
        children=asked.children,
        cgroup=cgroup,
        comm=asked.comm,
        own=asked.own,
        interfaces=tuple(asked.interfaces),
        exclude_interfaces=tuple(asked.exclude_interfaces),
    )


def _is_read(each: Map) -> bool:
    """Whether the agent reads it: constants it knows, or has no use for."""
    return not each.name.startswith((".rodata", ".kconfig"))


def _passed(each: Map) -> MapPassed:
    shape = each.shape
    return MapPassed(shape.name, shape.type, shape.key_size, shape.value_size, shape.max_entries, shape.flags)


def main() -> None:
    """Serve the process that started this one."""
    agent_pid = os.getppid()
    end = socket.socket(fileno=int(sys.argv[1]))
    end.set_inheritable(False)
    close_inherited()
    os.chdir("/")
    with open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write("sonde-loader")
    LoaderProcess(Channel(end), agent_pid).serve()


if __name__ == "__main__":
    main()
