"""What a probe's folder declares: its outputs, its knobs, and the few functions that BTF cannot replace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sonde.errors import ProbeError
from sonde.records.metrics import Metric

if TYPE_CHECKING:
    from sonde.bpf import ObjectSpec
    from sonde.records.frames import Written
    from sonde.records.model import Enricher


FOLLOWERS = ("process_fork", "process_exit")
"""The programs that follow children: of followed.bpf.h and unfollowed.bpf.h, as far as a probe includes them."""

RATE_MAX = "rate_max"
"""What every stream can be told: so many records a second at most, over all CPUs; 0 is no bound (stream.bpf.h)."""


@dataclass(frozen=True, slots=True)
class Knob:
    """A setting of a probe: a command-line flag, a configuration key, a keyword in Python.

    It sets the ``const volatile`` global ``symbol`` (empty: of the same name), unless ``is_global`` is off: then the
    probe's ``configure`` takes it. ``type`` reads the text of a flag, and raises ValueError; ``bool`` makes a flag
    without a value. ``outputs`` are those it goes with (all if empty). ``example`` is a value as it is typed, for
    ``sonde config example``; a number or a bool needs none. ``selects`` is off where it leaves no events out: then
    somebody who misses some need not look at it.
    """

    name: str
    help: str
    type: Callable[[str], Any] = int
    default: Any = None
    metavar: str = ""
    symbol: str = ""
    outputs: tuple[str, ...] = ()
    is_global: bool = True
    example: str = ""
    selects: bool = True

    @property
    def flag(self) -> str:
        """Give the command line's spelling."""
        return "--" + self.name.replace("_", "-")

    def goes_with(self, output: Table | Stream) -> bool:
        """Tell whether an output has it."""
        return not self.outputs or output.name in self.outputs


def _hook(text: str) -> str:
    if text not in HOOKS:
        raise ValueError(f"there is no hook {text!r}: valid: {' or '.join(HOOKS)}")
    return text


HOOKS = ("xdp", "tc")
HOOK = Knob(
    "hook",
    "where what comes in is seen: by xdp, before the kernel has made anything of it, or by tc",
    _hook,
    default="xdp",
    metavar="xdp|tc",
    is_global=False,
    example="tc",
    selects=False,
)
"""What probes on interfaces can be told that have programs of both kinds for what comes in."""


def _frequency(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= FREQUENCY_MAX_HZ):
        raise ValueError(f"{text!r} is no frequency: give 1 to {FREQUENCY_MAX_HZ} times a second")
    return int(text)


def _event(text: str) -> str:
    if text not in EVENTS:
        raise ValueError(f"there is no event {text!r}: valid: {' or '.join(EVENTS)}")
    return text


FREQUENCY_MAX_HZ = 999
FREQUENCY = Knob(
    "frequency",
    "so many times a second and CPU; not 100: many programs wake up a hundred times a second",
    _frequency,
    default=99,
    metavar="HZ",
    is_global=False,
    selects=False,
)
EVENTS = ("cpu-clock", "cycles")
EVENT = Knob(
    "event",
    "by which clock: the kernel's, or the CPU's cycles, where the machine counts them",
    _event,
    default="cpu-clock",
    metavar="cpu-clock|cycles",
    is_global=False,
    example="cycles",
    selects=False,
)
CLOCK = (FREQUENCY, EVENT)
"""What probes can be told that have a program of SEC("perf_event"): it runs at the ticks of a clock on each CPU."""

STACKS = (
    Knob("no_user", "without user stacks", bool, selects=False),
    Knob("no_kernel", "without kernel stacks", bool, selects=False),
)
"""What probes can be told that take stacks (stack.bpf.h)."""


def _one_in(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= SAMPLE_MAX):
        raise ValueError(f"{text!r} is no sample: give a number from 1 on, 1 for all of them")
    return int(text)


SAMPLE = "sample"
SAMPLE_MAX = 2**32 - 1


def sample_of(event: str) -> Knob:
    """Make the knob of probes that can count a part of their events, each of which then stands for N (sampling.bpf.h)."""
    return Knob(
        SAMPLE,
        f"count one {event} in N, chosen at random; totals become estimates",
        _one_in,
        metavar="N",
        symbol="sample_every",
        selects=False,
    )


BARE = "_bare"
"""How the names of programs end whose packets begin with the IP header: those of tun and WireGuard."""


@dataclass(frozen=True, slots=True)
class Walk:
    """An iterator program that is run from start to end at a moment; ``map`` is what it walks over, if it is a map."""

    program: str
    map: str = ""


def _whole(stack: Written) -> Written:
    return stack


@dataclass(frozen=True, slots=True)
class Table:
    """An aggregated map: a row per key, summed in the kernel.

    ``programs`` are those that fill it. ``flag`` chooses it on the command line, where it is not the first. What found
    the map full is in the one entry of ``other``. ``counted`` are the members of the value whose sum, over all rows, is
    what was aggregated. Members are added up over rows and time, unless a typedef says that they are something else.
    ``columns`` are shown, with those in ``shown_with`` a knob before the last of them, and machines get ``details`` too;
    ``sort`` is the column that a person wants first. ``metrics``
    are what its rows are to machines. ``cost_ns`` is what an event costs the kernel, as the probe's README measured it.
    ``counting`` are the programs that count what is seen: the last one, if it says nothing. ``at_start`` runs once when
    counting has begun, ``before_read`` before each reading and once more when all programs are detached. ``weight`` is the
    column that a profile adds up, of a table whose rows are of stacks: ``count`` samples, or a time in ``…_ns``; ``shorten``
    makes of a stack of the kernel what is shown of it.
    ``rows`` gives for how many rows there is room, where that depends on the machine: of the number of CPUs and the knobs.
    Those of a table that ``grows`` take memory when they are made, where the kernel can do that in tracing programs: for
    large rows, of which there are few as a rule, up to the next power of two in size.
    """

    name: str
    map: str
    programs: tuple[str, ...]
    summary: str
    flag: str = ""
    other: str = ""
    counted: tuple[str, ...] = ("count",)
    sort: str = "count"
    columns: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    enrich: Callable[[], tuple[Enricher, ...]] = tuple
    metrics: tuple[Metric, ...] = ()
    cost_ns: float = 0.0
    counting: tuple[str, ...] = ()
    at_start: tuple[Walk, ...] = ()
    before_read: tuple[Walk, ...] = ()
    weight: str = ""
    shorten: Callable[[Written], Written] = _whole
    rows: Callable[[int, Mapping[str, Any]], int] | None = None
    grows: bool = False
    shown_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def shown(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """Give the columns that are shown where knobs have these values."""
        more = [name for knob, names in self.shown_with.items() if values.get(knob) for name in names]
        return (*self.columns[:-1], *more, *self.columns[-1:])


@dataclass(frozen=True, slots=True)
class Stream:
    """A ring buffer of records, written by ``programs``; RECORD_STREAM in C says which struct they are.

    ``columns``, ``details``, ``cost_ns``, ``counting`` and ``at_start`` are as a table's.
    """

    name: str
    map: str
    programs: tuple[str, ...]
    summary: str
    columns: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    enrich: Callable[[], tuple[Enricher, ...]] = tuple
    cost_ns: float = 0.0
    counting: tuple[str, ...] = ()
    at_start: tuple[Walk, ...] = ()

    @property
    def before_read(self) -> tuple[Walk, ...]:
        """A stream's records wait for the reader: nothing runs before it comes."""
        return ()


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to load a probe; variants are tried in order until the kernel takes one.

    ``types`` gives programs another type (tp_btf programs as raw tracepoints, say), ``globals`` sets knobs,
    ``programs`` names programs that it needs beside the output's own, ``without`` maps and programs to leave out.
    """

    name: str
    types: Mapping[str, str] = field(default_factory=dict)
    globals: Mapping[str, Any] = field(default_factory=dict)
    programs: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


def per_task_variants(
    values: str, *, raw: tuple[str, ...], only_in_storage: tuple[str, ...]
) -> tuple[Variant, ...]:
    """Give the ways to load programs on the scheduler's hooks that keep ``values``, one for each task (per_task.bpf.h).

    ``raw`` are the programs that load as raw tracepoints, too; ``only_in_storage`` those that a hash has no use for.
    """
    in_a_hash = (values, *only_in_storage)
    return (
        Variant("tp_btf", without=(f"{values}_by_task",)),
        # Before Linux 5.12 task storage is for LSM programs only.
        Variant("tp_btf, starts in a hash", globals={"in_task_storage": False}, without=in_a_hash),
        Variant(
            "raw_tp, starts in a hash",
            types=dict.fromkeys((*raw, *FOLLOWERS), "raw_tracepoint"),
            globals={"in_task_storage": False, "tasks_are_typed": False},
            without=in_a_hash,
        ),
    )


@dataclass(frozen=True, slots=True)
class Probe:
    """One observable domain: what a folder below ``sonde.probes`` declares as ``PROBE``.

    ``configure`` gets the spec, the chosen output's name and the knobs' values, before load. The first table
    and the first stream are what views show by default. ``unattended`` names the outputs that the agent runs where
    nothing is configured; a probe without any runs when the configuration names it. ``capabilities`` are what loading
    and attaching takes: the agent's loader keeps those of its probes, and no others.

    ``on_interfaces`` says that its XDP and TC programs go to network interfaces: SEC("xdp") sees what comes in,
    SEC("tc/ingress") does where XDP cannot be had or is not wanted (HOOK), SEC("tc/egress") sees what goes out. Those
    whose names end in BARE go to interfaces without Ethernet headers. They need CAP_NET_ADMIN, and select by
    interface, not by process, which nobody knows there.

    A program of SEC("perf_event") runs at the ticks of a clock, on each CPU that is online (CLOCK, among its knobs). Its
    output has a map ``OUTPUT_skipped``, per CPU, into which the run writes at how many ticks the kernel did not run it.

    ``of_processes`` is off where events are no process's doing, as a packet's that is dropped: nothing but knobs selects
    there. It says nothing where a probe is on interfaces.
    """

    name: str
    summary: str
    tables: tuple[Table, ...] = ()
    streams: tuple[Stream, ...] = ()
    knobs: tuple[Knob, ...] = ()
    variants: tuple[Variant, ...] = (Variant("default"),)
    configure: Callable[[ObjectSpec, str, Mapping[str, Any]], None] | None = None
    unattended: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ("CAP_BPF", "CAP_PERFMON")
    on_interfaces: bool = False
    of_processes: bool = True

    @property
    def selects_processes(self) -> bool:
        """Tell whether its events are processes', which can be selected."""
        return self.of_processes and not self.on_interfaces

    @property
    def outputs(self) -> tuple[Table | Stream, ...]:
        """Give the tables, then the streams."""
        return (*self.tables, *self.streams)

    def output(self, name: str | None = None) -> Table | Stream:
        """Find an output, the first one where none is named; raises ProbeError with the names that there are."""
        found = {output.name: output for output in self.outputs}
        if name and name not in found:
            why = "there is none of that name"
            raise ProbeError(f"find output {self.name}.{name}", why=why, hint=f"valid: {', '.join(found)}")
        return found[name] if name else self.outputs[0]


@dataclass(frozen=True, slots=True)
class Selection:
    """Whose events count: what every probe can filter by, in the kernel.

    ``pid`` is a thread group as this process's pid namespace sees it, with ``children`` all that it starts or has started, too;
    ``cgroup`` a directory of the cgroup v2 file system, with all below it; ``comm`` the process's name. What
    sonde itself does is filtered unless ``own`` is set.

    Probes on interfaces take these alone: ``interfaces`` by name, pattern (``veth*``) or number, all but loopback if
    there are none, without ``exclude_interfaces``. Those that come later are taken when they come.
    """

    pid: int | None = None
    children: bool = False
    cgroup: str | None = None
    comm: str | None = None
    own: bool = False
    interfaces: tuple[str | int, ...] = ()
    exclude_interfaces: tuple[str | int, ...] = ()
