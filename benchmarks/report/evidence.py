"""What a run has to say to each row of the document's matrix, and to each drawback that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps

from benchmarks.contenders import syscall_tools, systemtap
from benchmarks.contenders.tasks import TASKS, TOOLS
from benchmarks.results import Results, cell

OURS = "sonde top syscalls"
LOOKERS = (OURS, "strace -c", "py-spy", "perf trace -s", "perf record")
"""One of each way to look at a process: by eBPF, by ptrace, and by perf with each event and with samples."""

Tells = Callable[[Results], str]


def _of(part: str) -> Callable[[Tells], Tells]:
    """Tell nothing of a part that was not measured."""

    def only_measured(tell: Tells) -> Tells:
        @wraps(tell)
        def told(found: Results) -> str:
            return tell(found) if part in found.parts else "not measured in this run."

        return told

    return only_measured


def _figure(found: Results, part: str, contender: str, key: str, at: float = 0) -> str:
    row = found.parts[part].row(contender, at) if part in found.parts else None
    return cell(row.median(key)) if row else "–"


def _said(found: Results, part: str, contender: str) -> str:
    row = found.parts[part].row(contender) if part in found.parts else None
    return (row.missing or row.said) if row else "not measured"


@_of("syscalls")
def performance(found: Results) -> str:
    """Give what a call takes more, under one of each kind."""
    told = [
        f"{name} {_figure(found, 'syscalls', name, 'tight_1_added')} ns"
        for name in (
            syscall_tools.FLOOR,
            syscall_tools.COUNTS,
            syscall_tools.LATENCY,
            "perf stat",
            "perf trace -s",
            "strace -c",
        )
    ]
    return f"a system call takes more: {', '.join(told)}. SystemTap: {_said(found, 'syscalls', 'SystemTap')}{_in_virtual(found)}."


@_of("safety")
def safety(found: Results) -> str:
    """Give what tools do to their target, and leave behind."""
    told = [
        f"{name}: stopped in {_figure(found, 'safety', name, 'stopped')} of 100 looks, "
        f"at {_figure(found, 'safety', name, 'speed')} % of its speed, {_figure(found, 'safety', name, 'left')} things left after `kill -9`, {_said(found, 'safety', name)}"
        for name in LOOKERS
    ]
    return "; ".join(told) + "."


def _listed(found: Results, tool: str) -> str:
    places = _figure(found, "reach", tool, "places")
    return "lists none, for it does not run" if places == "–" else f"lists {places}"


@_of("reach")
def flexibility(found: Results) -> str:
    """Give what tools list, and lost."""
    return (
        f"sonde's library attaches to {_figure(found, 'reach', 'sonde', 'places')} kinds of hooks and brings {_figure(found, 'reach', 'sonde', 'ready')} outputs; "
        f"bpftrace lists {_figure(found, 'reach', 'bpftrace', 'places')} places here, perf {_figure(found, 'reach', 'perf', 'places')}; "
        f"strace knows system calls alone ({_figure(found, 'reach', 'strace', 'places')}); SystemTap {_listed(found, 'SystemTap')}. "
        "What each filters by, sums and exports is in the table of what tools can look at."
    )


@_of("ease")
def ease(found: Results) -> str:
    """Give how many of the ten tasks each tool did, and what was typed for them."""
    told = []
    for name in found.parts["ease"].kinds():
        rows = [row for row in found.parts["ease"].rows if row.contender == name and row.cells]
        typed = sum(row.median("characters") or 0 for row in rows) / max(1, len(rows))
        told.append(
            f"{name} {len(rows)} of {len(TASKS)}" + (f", {typed:.0f} characters each" if rows else "")
        )
    unasked = [name for name in TOOLS if name not in found.parts["ease"].kinds()]
    told += [f"not asked: {', '.join(unasked)}"] if unasked else []
    return f"of ten tasks that were tried, with one line each, answered: {'; '.join(told)}."


@_of("reach")
def ecosystem(found: Results) -> str:
    """Give what comes with each."""
    told = [
        f"{row.contender} {cell(row.median('ready'))}"
        for row in found.parts["reach"].rows
        if row.median("ready")
    ]
    return f"ready-made: {', '.join(told)}. sonde is the youngest and brings the fewest; whatever is compiled for libbpf loads in it, too."


@_of("safety")
def _stops(found: Results) -> str:
    def of(tool: str, key: str) -> str:
        return _figure(found, "safety", tool, key)

    return (
        f"strace had it stopped in {of('strace -c', 'stopped')} of 100 looks, and its longest pause was {of('strace -c', 'longest_ms')} ms; "
        f"under sonde {of(OURS, 'stopped')} and {of(OURS, 'longest_ms')} ms, without a tool {of('no tracer', 'longest_ms')} ms."
    )


@_of("safety")
def _root(found: Results) -> str:
    return (
        f"of the lists that were tried, as uid 0 with nothing else, perf trace {_said(found, 'safety', 'perf trace -s')}, and sonde {_said(found, 'safety', OURS)}. "
        "perf itself has no use for CAP_BPF, but reads tracefs, which is uid 0's own unless it is mounted otherwise; sonde's programs on system calls read nothing there."
    )


@_of("syscalls")
def _module(found: Results) -> str:
    return f"{_said(found, 'syscalls', 'SystemTap')}; {_said(found, 'syscalls', systemtap.NAME)}{_in_virtual(found)}."


def _in_virtual(found: Results) -> str:
    """Give what SystemTap costs in the virtual machine, beside sonde."""
    if "virtual" not in found.parts:
        return ""
    figures = {
        name: _figure(found, "virtual", name, "tight_1_slowdown")
        for name in (syscall_tools.COUNTS, "SystemTap")
    }
    told = ", ".join(f"{name} {figure} ×" for name, figure in figures.items())
    return f"; in a virtual machine, where it runs ({_said(found, 'virtual', 'SystemTap')}), `getppid` takes {told} what it takes without"


@_of("ease")
def _configuration(found: Results) -> str:
    typed = [
        f"{name} {_figure(found, 'ease', name, 'characters', 1)}"
        for name in ("sonde", "libbpf-tools", "bpftrace", "perf", "strace")
    ]
    return f"characters typed for the first task, system calls by process: {', '.join(typed)}."


@_of("safety")
def _stability(found: Results) -> str:
    lives = [f"{name} {_figure(found, 'safety', name, 'alive')} %" for name in LOOKERS]
    return f"how often the target ran on when its tool was killed by `kill -9`: {', '.join(lives)}."


def drawbacks(found: Results) -> Iterator[tuple[str, str]]:
    """Answer each drawback: stops the target, needs root, needs a module, is hard to configure, stability."""
    yield "ptrace stops the target", _stops(found)
    yield "perf needs root", _root(found)
    yield "SystemTap needs a kernel module", _module(found)
    yield "perf is hard to configure, eBPF takes learning", _configuration(found)
    yield "stability", _stability(found)
