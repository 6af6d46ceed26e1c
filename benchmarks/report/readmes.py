"""The figures in the probes' READMEs and in docs/best-practices.md, between marks, from the results of a run.

``python -m benchmarks.report.readmes`` writes them from benchmarks/results.json; ``make bench PUBLISH=1`` does it by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks import built, results
from benchmarks.contenders import syscall_tools
from benchmarks.results import Part, Results, cell

BEGIN, END = "<!-- figures of `make bench` -->", "<!-- end of figures -->"
PROBES = built.ROOT / "src" / "sonde" / "probes"
KEPT = built.HERE / "results.json"
TITLES = {
    syscall_tools.FLOOR: "empty program on `sys_enter`",
    syscall_tools.FLOOR_BOTH: "empty programs on `sys_enter` and `sys_exit`",
    syscall_tools.COUNTS: "**`sonde top syscalls --count-only`**",
    syscall_tools.LATENCY: "**`sonde top syscalls`** (latency)",
    syscall_tools.SAMPLED: "`sonde top syscalls --sample 100`",
    syscall_tools.CHOSEN: "`sonde top syscalls --syscall openat`: what it leaves out",
    "syscount -P": "`syscount -P` (libbpf-tools)",
    "syscount -P -L": "`syscount -P -L`",
    "bpftrace count()": "`bpftrace`: `@[pid] = count()`",
    "BCC syscount -P": "BCC's `syscount -P`",
    "BCC syscount -P -L": "BCC's `syscount -P -L`",
}


def blocks() -> dict[Path, tuple[tuple[str, ...], Callable[[Results], Iterator[str]]]]:
    """Name every document with figures, the parts that they are of, and who writes them."""
    return {
        PROBES / "syscalls" / "README.md": (("syscalls", "tools", "probes"), _syscalls),
        PROBES / "processes" / "README.md": (("probes",), _processes),
        PROBES / "drops" / "README.md": (("probes",), _drops),
        PROBES / "packets" / "README.md": (("packets", "probes"), _packets),
        PROBES / "tcp" / "README.md": (("probes",), _tcp),
        PROBES / "runqueue" / "README.md": (("probes",), partial(_switches, probe="runqueue")),
        PROBES / "cpu" / "README.md": (("profiles", "probes"), _profile),
        PROBES / "offcpu" / "README.md": (("probes",), partial(_switches, probe="offcpu")),
        built.ROOT / "docs" / "best-practices.md": (("rules", "syscalls"), _rules),
        built.ROOT / "README.md": (("syscalls", "tools"), _summary),
    }


def with_figures(path: Path, found: Results) -> str:
    """Give a document's text with this run's figures; as it is where the run has none of them."""
    text = path.read_text()
    parts, write = blocks()[path]
    if any(part not in found.parts for part in parts):
        return text
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    lines = "\n".join(write(found))
    return f"{before}{BEGIN}\n\n{lines}\n\n{END}{after}"


def write_all(found: Results) -> None:
    """Write all of them."""
    for path in blocks():
        path.write_text(with_figures(path, found))


def _ns(value: float | None) -> str:
    if value is None:
        return "–"
    return (
        f"{value / 1000:.1f} µs"
        if value >= 10_000
        else f"{value:,.0f} ns"
        if value >= 10
        else f"{value:.1f} ns"
    )


def _median(part: Part, contender: str, key: str) -> float | None:
    row = part.row(contender)
    return row.median(key) if row else None


def _maps(found: Results, name: str) -> str:
    part = found.parts["probes"]
    return f"{cell(_median(part, name, 'maps_mb'))} MB | {cell(_median(part, name, 'maps_128_mb'))} MB"


def _syscalls(found: Results) -> Iterator[str]:
    part, tools = found.parts["syscalls"], found.parts["tools"]
    yield "| | added to a `getppid` | × empty program | added to a mixed call | start to attached | memory with maps |"
    yield "|---|---|---|---|---|---|"
    for name, title in TITLES.items():
        own = part.row(name)
        if own and own.cells:
            ratio = part.ratio("tight_1_added", name, syscall_tools.FLOOR)
            start, memory = _median(tools, name, "attached_s"), _median(tools, name, "memory_mb")
            yield (
                f"| {title} | {_bold(name, _ns(own.median('tight_1_added')))} | {cell(ratio)} | {_ns(own.median('mixed_added'))} "
                f"| {f'{start:.2f} s' if start else '–'} | {f'{memory:.0f} MB' if memory else '–'} |"
            )

    yield "\n| | maps, when full | with 128 CPUs |"
    yield "|---|---|---|"
    for output in ("latency", "counts", "calls"):
        yield f"| `{output}` | {_maps(found, f'syscalls.{output}')} |"


def _bold(name: str, text: str) -> str:
    return f"**{text}**" if name in (syscall_tools.COUNTS, syscall_tools.LATENCY) else text


def _processes(found: Results) -> Iterator[str]:
    part = found.parts["probes"]
    yield "| | fork | exec | exit | maps | with 128 CPUs |"
    yield "|---|---|---|---|---|---|"
    for output in ("events", "lifetimes", "lifecycle"):
        name = f"processes.{output}"
        cells = [_ns(_median(part, f"{name}, {kind}", "added_ns")) for kind in ("fork", "exec", "exit")]
        yield f"| `{output}` | {' | '.join(cells)} | {_maps(found, name)} |"
    floors = [
        _ns(_median(part, f"processes.lifecycle, {kind}", "empty_ns")) for kind in ("fork", "exec", "exit")
    ]
    yield f"| (empty programs) | {' | '.join(floors)} | | |"


def _drops(found: Results) -> Iterator[str]:
    part = found.parts["probes"]
    yield "| | a drop | maps | with 128 CPUs |"
    yield "|---|---|---|---|"
    for output in ("counts", "packets"):
        added = _ns(_median(part, f"drops.{output}, packet", "added_ns"))
        yield f"| `{output}` | {added} | {_maps(found, f'drops.{output}')} |"
    yield f"| (empty program) | {_ns(_median(part, 'drops.counts, packet', 'empty_ns'))} | | |"


def _packets(found: Results) -> Iterator[str]:
    part = found.parts["packets"]
    floor = "an empty XDP program"
    yield "| | test run | × | storm | × | maps | with 128 CPUs |"
    yield "|---|---|---|---|---|---|---|"
    for name, title in {
        "no program": "no program",
        floor: floor,
        "packets, by protocol": "**`protocols`**",
        "packets, by flow": "**`flows`**",
    }.items():
        alone, storm = _ns(_median(part, name, "alone_ns")), _ns(_median(part, name, "storm_ns"))
        ratios = cell(part.ratio("alone_ns", name, floor)), cell(part.ratio("storm_ns", name, floor))
        maps = _maps(found, f"packets.{title.strip('*`')}") if title.startswith("*") else " | "
        yield f"| {title} | {alone} | {ratios[0]} | {storm} | {ratios[1]} | {maps} |"


def _tcp(found: Results) -> Iterator[str]:
    part = found.parts["probes"]
    yield "| | our programs | empty programs | maps | with 128 CPUs |"
    yield "|---|---|---|---|---|"
    for row in part.rows:
        name, _, what = row.contender.partition(", ")
        if name.startswith("tcp.") and what == "connection":
            cells = _ns(row.median("ours_ns")), _ns(row.median("empty_ns"))
            yield f"| `{name.removeprefix('tcp.')}` | {cells[0]} | {cells[1]} | {_maps(found, name)} |"


def _switches(found: Results, *, probe: str) -> Iterator[str]:
    """Write what a switch and a wake-up take more, with each of the probe's knobs that matter."""
    part, kinds = found.parts["probes"], {"switch": "a switch", "wakeup": "a wake-up", "waking": "a wake-up"}
    yield "| | added | (empty program) |"
    yield "|---|---|---|"
    for row in part.rows:
        title, _, kind = row.contender.partition(", ")
        name, *knobs = title.split()
        if name == probe and kind in kinds:
            what = ", ".join((kinds[kind], *(f"`{knob}`" for knob in knobs)))
            yield f"| {what} | {_ns(row.median('added_ns'))} | {_ns(row.median('empty_ns'))} |"
    maps = [row for row in part.rows if row.contender.partition(".")[0] == probe and row.figures("maps_mb")]
    for row in maps:
        yield f"| maps of `{row.contender.partition('.')[2]}` | {cell(row.median('maps_mb'))} MB | {cell(row.median('maps_128_mb'))} MB with 128 CPUs |"


def _profile(found: Results) -> Iterator[str]:
    """Write what a profile costs beside the other profilers; what a sample adds to the work is lost in noise there."""
    part = found.parts["profiles"]
    yield "| | the work, × | CPU of the profiler for a sample | start to attached | Ctrl-C to answer | memory with maps |"
    yield "|---|---|---|---|---|---|"
    for row in part.rows:
        if row.kind != "floor" and row.cells:
            name = f"**`{row.contender}`**" if row.kind == "sonde" else f"`{row.contender}`"
            figures = [cell(row.median(key)) for key in ("cpu_us", "attached_s", "ended_s", "memory_mb")]
            units = ("µs", "s", "s", "MB")
            told = [
                f"{each} {unit}" if each != "–" else each for each, unit in zip(figures, units, strict=True)
            ]
            yield f"| {name} | {cell(row.median('slowdown'))} | {' | '.join(told)} |"
    yield "\n| | maps, when full | with 128 CPUs |"
    yield "|---|---|---|"
    yield f"| `samples` | {_maps(found, 'cpu.samples')} |"


def _rules(found: Results) -> Iterator[str]:
    yield "| | 1 CPU | 2 CPUs | counted of what 2 CPUs did, at least |"
    yield "|---|---|---|---|"
    for row in found.parts["rules"].rows:
        counted = f"{min(counts):.2f} %" if (counts := row.figures("counted")) else ""
        together = _ns(row.median("together_ns")) if row.figures("together_ns") else ""
        yield f"| {row.contender} | {_ns(row.median('alone_ns'))} | {together} | {counted} |"
    yield "\nThe probe `syscalls` itself, added to a `getppid` and to a mixed call:\n"
    yield "| | `getppid` | mixed |"
    yield "|---|---|---|"
    for name in (syscall_tools.LATENCY, syscall_tools.SAMPLED, syscall_tools.CHOSEN, syscall_tools.COUNTS):
        if own := found.parts["syscalls"].row(name):
            yield f"| `{name}` | {_ns(own.median('tight_1_added'))} | {_ns(own.median('mixed_added'))} |"


def _summary(found: Results) -> Iterator[str]:
    part, tools = found.parts["syscalls"], found.parts["tools"]
    counts, latency = syscall_tools.COUNTS, syscall_tools.LATENCY
    ratios = [
        (
            counts,
            "syscount -P",
            "counting every call by process and call added {} times what `syscount -P` adds",
        ),
        (counts, "bpftrace count()", "{} times bpftrace's `count()`"),
        (
            latency,
            "syscount -P -L",
            "with a latency histogram for each process, call and error {} times `syscount -P -L`",
        ),
    ]
    told = [
        text.format(cell(ratio))
        for ours, peer, text in ratios
        if (ratio := part.ratio("tight_1_added", ours, peer)) is not None
    ]
    memory = [
        (name, tools.ratio("memory_mb", counts, name))
        for name in ("bpftrace count()", "BCC syscount -P", "syscount -P")
    ]
    yield f"Here, {', '.join(told)}."
    yield f"Its memory, maps included, was {', '.join(f'{cell(ratio)} times that of {name}' for name, ratio in memory)}."


if __name__ == "__main__":
    write_all(results.read(KEPT))
