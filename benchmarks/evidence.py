"""What a run has to say to each row of the document's matrix, and to each drawback that it names."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import syscall_tools, systemtap
from benchmarks.results import Results, cell
from benchmarks.tasks import TASKS

NOT_MEASURED = "not measured in this run."


def _figure(found: Results, part: str, contender: str, key: str, at: float = 0) -> str:
    row = found.parts[part].row(contender, at) if part in found.parts else None
    return cell(row.median(key)) if row else "–"


def _said(found: Results, part: str, contender: str) -> str:
    row = found.parts[part].row(contender) if part in found.parts else None
    return (row.missing or row.said) if row else "not measured"


def performance(found: Results) -> str:
    """Give what a call takes more, under one of each kind."""
    if "syscalls" not in found.parts:
        return NOT_MEASURED
    told = [
        f"{name} {_figure(found, 'syscalls', name, 'tight_1_added')} ns"
        for name in (
            syscall_tools.FLOOR,
            syscall_tools.COUNTS,
            syscall_tools.LATENCY,
            "perf trace -s",
            "strace -c",
        )
    ]
    return f"a system call takes more: {', '.join(told)}. SystemTap: {_said(found, 'syscalls', 'SystemTap')}."


def safety(found: Results) -> str:
    """Give what tools do to their target, and leave behind."""
    if "safety" not in found.parts:
        return NOT_MEASURED
    told = [
        f"{name}: stopped in {_figure(found, 'safety', name, 'stopped')} of 100 looks, "
        f"at {_figure(found, 'safety', name, 'speed')} % of its speed, {_figure(found, 'safety', name, 'left')} things left after `kill -9`, {_said(found, 'safety', name)}"
        for name in ("sonde top syscalls", "strace -c", "py-spy", "perf trace -s")
    ]
    return "; ".join(told) + "."


def flexibility(found: Results) -> str:
    """Give what tools list, and lost."""
    if "reach" not in found.parts:
        return NOT_MEASURED
    return (
        f"sonde's library attaches to {_figure(found, 'reach', 'sonde', 'places')} kinds of hooks and brings {_figure(found, 'reach', 'sonde', 'ready')} outputs; "
        f"bpftrace lists {_figure(found, 'reach', 'bpftrace', 'places')} places here, perf {_figure(found, 'reach', 'perf', 'places')}; "
        f"strace knows system calls alone ({_figure(found, 'reach', 'strace', 'places')})."
    )


def ease(found: Results) -> str:
    """Give how many of the ten tasks each tool did, and what was typed for them."""
    if "ease" not in found.parts:
        return NOT_MEASURED
    told = []
    for name in found.parts["ease"].kinds():
        rows = [row for row in found.parts["ease"].rows if row.contender == name and row.cells]
        typed = sum(row.median("characters") or 0 for row in rows) / max(1, len(rows))
        told.append(
            f"{name} {len(rows)} of {len(TASKS)}" + (f", {typed:.0f} characters each" if rows else "")
        )
    return f"of ten tasks that were tried, answered: {'; '.join(told)}."


def ecosystem(found: Results) -> str:
    """Give what comes with each."""
    if "reach" not in found.parts:
        return NOT_MEASURED
    told = [
        f"{row.contender} {cell(row.median('ready'))}"
        for row in found.parts["reach"].rows
        if row.median("ready")
    ]
    return f"ready-made: {', '.join(told)}. sonde is the youngest and brings the fewest; whatever is compiled for libbpf loads in it, too."


def drawbacks(found: Results) -> Iterator[tuple[str, str]]:
    """Answer each drawback: stops the target, needs root, needs a module, is hard to configure, stability."""
    ours = "sonde top syscalls"

    def of(tool: str, key: str) -> str:
        return _figure(found, "safety", tool, key)

    stops = (
        f"strace had it stopped in {of('strace -c', 'stopped')} of 100 looks, and its longest pause was {of('strace -c', 'longest_ms')} ms; "
        f"under sonde {of(ours, 'stopped')} and {of(ours, 'longest_ms')} ms, without a tool {of('no tracer', 'longest_ms')} ms."
    )
    root = (
        f"perf trace {_said(found, 'safety', 'perf trace -s')}; so does eBPF: sonde {_said(found, 'safety', ours)}. "
        "Neither needs uid 0."
    )
    typed = ", ".join(
        f"{name} {_figure(found, 'ease', name, 'characters', 1)}"
        for name in ("sonde", "libbpf-tools", "bpftrace", "perf", "strace")
    )
    lives = ", ".join(
        f"{name} {of(name, 'alive')} %" for name in (ours, "strace -c", "py-spy", "perf trace -s")
    )
    yield "ptrace stops the target", stops
    yield "perf needs root", root
    yield (
        "SystemTap needs a kernel module",
        f"{_said(found, 'syscalls', 'SystemTap')}; {_said(found, 'syscalls', systemtap.NAME)}.",
    )
    yield (
        "perf is hard to configure, eBPF takes learning",
        f"characters typed for the first task, system calls by process: {typed}.",
    )
    yield "stability", f"how often the target ran on when its tool was killed by `kill -9`: {lives}."
