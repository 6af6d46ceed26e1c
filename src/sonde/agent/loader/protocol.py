"""What the agent may ask the loader, and what that answers: typed, bounded messages.

The loader takes the agent for an enemy. There is no message with a path to load, with bytes to load, or with a
descriptor for the loader: it loads packaged objects, by name. Everything has a bound, and what has another shape is
refused as a whole.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

MESSAGE_BYTES_MAX = 1 << 16
"""A message is one datagram of at most so many bytes; a longer one is refused."""

DESCRIPTORS_MAX = 64
"""Descriptors in one answer; the kernel's own bound is 253 (SCM_MAX_FD)."""

PIDS_MAX = 256
STATISTICS_S_MAX = 10.0
ENTRIES_MAX = 1 << 20
RING_BYTES_MAX = 1 << 28
RUNS_MAX = 64
INTERFACES_MAX = 128

Name = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=1024)]
Number = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Value = bool | int | float | Text | Annotated[list[Name], Meta(max_length=512)]
Pid = Annotated[int, Meta(ge=1, le=2**22)]


class Request(Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Anything asked; its answer has the same ``number``."""

    number: Number


class Configure(Request, frozen=True):
    """The first message and only the first: what the agent, which is trusted until it serves, will need.

    ``capabilities`` are what the probes name; ``statistics`` and ``identities`` add one each, to be raised on request.
    """

    capabilities: Annotated[list[Name], Meta(max_length=16)]
    statistics: bool = False
    identities: bool = False
    user: Text | None = None


Interfaces = Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)] | Number], Meta(max_length=256)]


class Selected(Struct, frozen=True, forbid_unknown_fields=True):
    """``sonde.probe.Selection``; a cgroup is a directory below /sys/fs/cgroup."""

    pid: Pid | None = None
    children: bool = False
    cgroup: Text | None = None
    comm: Annotated[str, Meta(max_length=15)] | None = None
    own: bool = False
    interfaces: Interfaces = []
    exclude_interfaces: Interfaces = []


class Start(Request, frozen=True):
    """Load, attach and count one output of a packaged probe; answered by Started.

    A run ``predecessor`` counts no more from the moment on at which this one does; it is to be stopped.
    """

    probe: Name
    output: Name | None = None
    selection: Selected = Selected()
    values: Annotated[dict[Name, Value], Meta(max_length=64)] = {}
    max_entries: Annotated[int, Meta(ge=1, le=RING_BYTES_MAX)] | None = None
    predecessor: Number | None = None


class Stop(Request, frozen=True):
    """Count no more; answered by Stopped once no program runs any more. Again is fine."""

    run: Number


class Close(Request, frozen=True):
    """Free a run; answered by Done. One that is not there is fine."""

    run: Number


class Refresh(Request, frozen=True):
    """Bring a run's table up to date, which is read next; answered by Done."""

    run: Number


class SetVariable(Request, frozen=True):
    """Set a live global of a run; answered by Done."""

    run: Number
    name: Name
    value: int | bool


class Select(Request, frozen=True):
    """Put a run on other interfaces; those that stay go on without a gap. Answered by Done."""

    run: Number
    interfaces: Interfaces = []
    exclude_interfaces: Interfaces = []


class Follow(Request, frozen=True):
    """Ask what has become of a run's interfaces since the one of ``number_last``; answered by Followed."""

    run: Number
    number_last: Number = 0


class Count(Request, frozen=True):
    """Have the kernel count all programs' runs and time, for so many seconds at most (0 ends it); answered by Done."""

    seconds: Annotated[float, Meta(ge=0, le=STATISTICS_S_MAX)]


class Identify(Request, frozen=True):
    """Ask who processes are; answered by Identified."""

    pids: Annotated[list[Pid], Meta(max_length=PIDS_MAX)]


Question = Start | Stop | Close | Refresh | SetVariable | Select | Follow | Count | Identify


class Answer(Struct, frozen=True, tag=True):
    """Anything answered, to the request of this ``number``; 0 where it could not be read."""

    number: int


class Ready(Answer, frozen=True):
    """The loader is narrowed: what it kept, and what it could not. Its descriptor is a map to try reading."""

    kept: list[str]
    notes: list[str]


class MapPassed(Struct, frozen=True, array_like=True):
    """A map of a run, as it was created; its descriptor is at the same place among those that came along."""

    name: str
    type: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int


class Started(Answer, frozen=True):
    """A run counts. Descriptors: ``maps``, then ``programs``."""

    run: int
    variant: str
    maps: list[MapPassed]
    programs: list[str]
    hooks: dict[str, str]
    skipped_before: int
    described: dict[str, int]
    is_on_interfaces: bool = False


class Stopped(Answer, frozen=True):
    """A run counts no more; so many events were skipped by the kernel until its end."""

    skipped_at_end: int


class InterfacePlaced(Struct, frozen=True, array_like=True):
    """``sonde.run.placing.Placed``."""

    index: int
    name: str
    ingress: str
    egress: str
    note: str
    number: int
    is_here: bool


class Followed(Answer, frozen=True):
    """Of INTERFACES_MAX interfaces at most what they are now, the oldest news first; ``waiting`` patterns match none."""

    interfaces: list[InterfacePlaced]
    waiting: list[str]


class Done(Answer, frozen=True):
    """It was done."""


class Identity(Struct, frozen=True):
    """Who a process is, as /proc has it; names are bytes, for a file's name may be any.

    ``start_ticks`` tells it from a later one of the same number; ``executable`` is empty where the loader may not see
    it, or the process (a kernel thread) has none; ``cgroup`` is its path in the cgroup v2 hierarchy.
    """

    pid: int
    start_ticks: int
    parent: int
    user: int
    comm: bytes
    executable: bytes
    cgroup: bytes


class Identified(Answer, frozen=True):
    """Those that are there among the first ``considered`` of the processes: as many as one message holds."""

    identities: list[Identity]
    considered: int


class Failed(Answer, frozen=True):
    """It could not be done: an exception of ``sonde.errors``, by the name of its class."""

    kind: str
    arguments: list[str | int]
    state: dict[str, str | int | bool | None]
    remarks: list[str] = []


Reply = Ready | Started | Stopped | Followed | Done | Identified | Failed
