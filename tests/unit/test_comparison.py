"""The comparison says what its figures say: ratios, losses, the document's totals, and the pages that are made from results."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from benchmarks import __main__, crowds, options, results, streams
from benchmarks.contenders import contender, resources, syscall_tools, tasks
from benchmarks.report import costs, evidence, matrix, page, plots, readmes, targets
from benchmarks.results import Column, Part, Results, Row

from sonde.probes import all_probes

pytestmark = pytest.mark.host_only

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = [Column("ns", "a call", "ns"), Column("shown", "shown", "%", "more")]


def part(ours: list[float], theirs: list[float], *, key: str = "ns") -> Part:
    rows = [Row("sonde", "sonde", {key: ours}), Row("peer", "peer", {key: theirs})]
    return Part("made", "Made up", "Nothing.\n", COLUMNS, rows, pairs={"peer": "sonde"})


def test_a_ratio_is_of_one_round() -> None:
    """What slows the whole of a round down is in both sides."""
    assert part([10, 100, 10], [20, 200, 20]).ratio("ns", "sonde", "peer") == 0.5


def test_who_was_not_measured_has_no_ratio() -> None:
    assert part([10], []).ratio("ns", "sonde", "peer") is None
    assert part([10], [0]).ratio("ns", "sonde", "peer") is None


def test_what_is_lost_in_noise_has_no_ratio() -> None:
    """The rounds in which it happened to be above nothing were the median of chance."""
    assert part([36.9, 56.5, -10.6], [-2.1, 8.3, -21.5]).ratio("ns", "sonde", "peer") is None
    assert part([-1.0, 2.0, 1.0], [10, 10, 10]).ratio("ns", "sonde", "peer") == 0.1


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (part([30, 30], [20, 20]), "Behind peer by 1.50."),
        (part([50], [100], key="shown"), "Behind peer by 2."),
        (part([20, 10], [0, 0]), "Behind peer (which takes none)."),
        (part([20, 0], [0, 0]), "Nowhere in this run"),
        (part([20], [20]), "Nowhere in this run"),
        (part([10], [20]), "Nowhere in this run"),
    ],
)
def test_where_sonde_loses_is_said(made: Part, told: str) -> None:
    losses = "\n".join(page.losses(Results({}, quick=False, parts={"made": made})))

    assert told in losses


def test_a_loss_is_said_at_every_place_of_an_axis() -> None:
    """The last of them may be the most favourable one."""
    rows = [Row("sonde", "sonde", {"ns": [ns]}, at) for at, ns in ((10, 30), (100, 40), (1000, 20))]
    rows += [Row("peer", "peer", {"ns": [20]}, at) for at in (10, 100, 1000)]
    rows += [Row("other", "peer", {"ns": [10]}, at) for at in (10, 100, 1000)]
    pairs = {"peer": "sonde", "other": "sonde"}
    made = Part("made", "Made up", "Nothing.\n", COLUMNS, rows, across="processes", pairs=pairs)

    (loss,) = page.losses(Results({}, quick=False, parts={"made": made}))

    assert "Behind peer by 1.50 … 2.00 (at 10, 100), other by 2.00 … 4.00 (at all)." in loss


def test_tables_along_an_axis_keep_units_and_numbers_as_they_are_written() -> None:
    columns, rows = [Column("mb", "BPF maps", "MB")], [Row("sonde", "sonde", {"mb": [1.5]}, 1e6)]
    made = Part("made", "Made up", "Nothing.\n", columns, rows, across="records a second")

    text = page.page(Results({}, quick=False, parts={"made": made}))

    assert "BPF maps, MB, by records a second:" in text
    assert "| | 1,000,000 |" in text


def test_who_lacked_some_and_said_nothing_is_named() -> None:
    columns = [Column("found", "found", "%", "more")]
    rows = [
        Row("honest", "peer", {"found": [40.0]}, 10, said="lost 60"),
        Row("whole", "peer", {"found": [100.0]}, 10),
        Row("silent", "peer", {"found": [81.9]}, 10),
        Row("silent", "peer", {"found": [56.2]}, 1000),
    ]
    made = Part("made", "Made up", "Nothing.\n", columns, rows, across="processes")

    text = page.page(Results({}, quick=False, parts={"made": made}))

    assert "Lacked some, and said nothing of it: silent (at 10, 1,000)." in text


def test_who_is_compared_since_a_run_is_named_on_its_page() -> None:
    made = msgspec.structs.replace(part([1], [2]), name="opens")

    assert "* strace --seccomp-bpf: not in this run" in page.page(
        Results({}, quick=False, parts={"opens": made})
    )


def test_there_is_no_table_of_ratios_where_there_is_none() -> None:
    """What sonde has nothing for has a row of why, and figures of others."""
    rows = [Row("sonde", "sonde", missing="no such probe"), Row("peer", "peer", {"ns": [1.5]})]
    made = Part("made", "Made up", "Nothing.\n", COLUMNS, rows, pairs={"peer": "sonde"})

    assert "Sonde's to that of" not in page.page(Results({}, quick=False, parts={"made": made}))


@pytest.mark.parametrize(("size", "told"), [(10_000, 0.9), (1_000, None)])
def test_maps_are_compared_with_their_bound_where_ten_thousand_processes_fill_them(
    size: int, told: float | None
) -> None:
    """A quick run has a thousand, and says nothing of ten thousand."""
    filled = Row(syscall_tools.COUNTS, "sonde", {"kernel_mb": [1.8], "memory_mb": [40.6]}, size)
    bound = Row("syscalls.counts", "sonde", {"maps_mb": [2.0]})
    parts = {
        name: Part(name, "", "", COLUMNS, [row]) for name, row in (("crowds", filled), ("probes", bound))
    }
    made = Results({}, quick=False, parts=parts)

    (target,) = (each for each in targets.TARGETS if "its bound" in each.what)
    assert target.find(made) == told
    assert ("40.6 MB of" in targets.beyond(made)) == (told is not None)


def test_where_sonde_has_one_row_all_are_compared_with_it() -> None:
    """Of parts without pairs losses were left out."""
    made = msgspec.structs.replace(part([30], [20]), pairs={})

    (loss,) = page.losses(Results({}, quick=False, parts={"made": made}))

    assert "Behind peer by 1.50." in loss


def test_where_sonde_has_nothing_is_a_loss() -> None:
    made = part([], [20])
    ours = msgspec.structs.replace(made.rows[0], cells={}, missing="there is no probe 'disk'")
    made = msgspec.structs.replace(made, rows=[ours, *made.rows[1:]])

    (loss,) = page.losses(Results({}, quick=False, parts={"made": made}))

    assert loss.endswith("sonde has nothing for it: there is no probe 'disk'")


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = Results({"Linux": "6.18"}, quick=True, parts={"made": part([1.5, 2.5], [3.25])})
    found.write(tmp_path / "results.json")

    assert results.read(tmp_path / "results.json") == found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (24.0, "24"),
        (0.456, "0.46"),
        (0.0042, "0.004"),
        (-0.0001, "0.000"),
        (12.34, "12.3"),
        (1234.5, "1,234"),
    ],
)
def test_a_figure_has_the_digits_that_mean_something(value: float | None, text: str) -> None:
    assert results.cell(value) == text


def test_the_documents_totals_are_recomputed() -> None:
    """None of the four that it prints follows from its own weights."""
    assert matrix.totals() == pytest.approx([9.45, 6.00, 7.70, 7.25])


@pytest.mark.parametrize(
    ("name", "told", "counts"),
    [
        ("syscount -P", "PID    COMM               COUNT\n4711   a name with 7       101\n", {4711: 101}),
        ("syscount -P -L", "4711   storm     101     250.125\n", {4711: 101}),
        ("bpftrace count()", "Attaching 1 probe...\n\n@[4711]: 101\n@[1]: 5\n", {4711: 101, 1: 5}),
        ("perf trace -s", " crowd (4711), 202 events, 0.1%\n", {4711: 101}),
        (
            "sonde top syscalls",
            '{"pid":4711,"count":100}\n{"pid":4711,"count":1}\n{"pid":null,"count":9}\n',
            {4711: 101},
        ),
    ],
)
def test_an_answer_is_read_process_by_process(name: str, told: str, counts: dict[int, int]) -> None:
    read = next(read for beginning, read in crowds.ANSWERS.items() if name.startswith(beginning))

    assert read(told) == counts


def test_what_a_tool_says_of_its_end_is_quoted() -> None:
    session = contender.Session(output=ROOT / "nowhere")

    assert contender.complaint(session, 1) == "it ended with status 1 and said: nothing"


def test_memory_is_that_of_a_process() -> None:
    own = resources.memory(os.getpid())

    assert own.resident_mb > 5
    assert own.kernel_mb >= 0


def test_the_storage_of_a_task_is_what_the_probe_declares() -> None:
    """The kernel's part of an element is 72 bytes (Linux 6.18)."""
    declared = (ROOT / "src/sonde/probes/_include/start.bpf.h").read_text()
    (size,) = re.findall(r"sizeof\(struct start\) == (\d+)", declared)

    assert targets.STORAGE_BYTES == 72 + int(size)


@pytest.fixture(scope="module")
def published() -> Results:
    return results.read(readmes.KEPT)


def test_the_page_is_what_the_published_results_make(published: Results) -> None:
    assert (ROOT / "docs" / "comparison.md").read_text() == page.page(published)


def test_the_evidence_has_the_cheapest_way_of_each_rival(published: Results) -> None:
    """perf is its counters and samples, too, and not its dearest command alone."""
    assert ", perf stat " in evidence.performance(published)
    assert "perf record: stopped in 0 of 100 looks" in evidence.safety(published)
    assert "SystemTap lists none" in evidence.flexibility(published)


def test_what_runs_in_a_virtual_machine_alone_is_evidence_too(published: Results) -> None:
    rows = [
        Row("SystemTap", "peer", {"tight_1_slowdown": [2.9]}, said="its module stays"),
        Row(syscall_tools.COUNTS, "sonde", {"tight_1_slowdown": [3.2]}),
    ]
    made = Part("virtual", "", "", COLUMNS, rows)
    found = msgspec.structs.replace(published, parts={**published.parts, "virtual": made})

    (told,) = [said for name, said in evidence.drawbacks(found) if "kernel module" in name]
    assert "its module stays" in told
    assert f"{syscall_tools.COUNTS} 3.20 ×, SystemTap 2.90 ×" in told


def test_every_task_is_asked_in_one_line_and_who_is_not_asked_is_named(published: Results) -> None:
    """The page says so; BCC's tools are asked since the published run."""
    assert not [line for task in tasks.TASKS for line in task.commands.values() if "\n" in line]
    assert {tool for task in tasks.TASKS for tool in task.commands} == set(tasks.TOOLS)

    unasked = set(tasks.TOOLS) - published.parts["ease"].kinds().keys()
    assert all(tool in evidence.ease(published).partition("not asked: ")[2] for tool in unasked)


HEADINGS = """\
Attaching 2 probes...
Tracing syscalls, printing top 10... Ctrl+C to quit.
07:30:21  sonde top syscalls --count-only
PID    COMM               COUNT
PCOMM            PID    PPID   RET ARGS
PID     COMM             LADDR           LPORT RADDR           RPORT TX_KB  RX_KB  MS
REASON       FUNCTION               IP VERSION  PROTOCOL  INTERFACE  PACKETS  BYTES  LAST SEEN    NETNS ID
strace: Process 5033 attached
seen 0 = aggregated 0 + lost 0
"""


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.title)
def test_a_heading_is_no_answer(task: tasks.Task) -> None:
    assert not re.search(task.wanted.replace("{pid}", "5033"), HEADINGS, re.MULTILINE)


@pytest.mark.parametrize("path", readmes.blocks(), ids=lambda path: str(path.relative_to(ROOT)))
def test_figures_agree_with_the_published_results(path: Path, published: Results) -> None:
    assert path.read_text() == readmes.with_figures(path, published)


def test_what_an_event_costs_is_found_in_the_results() -> None:
    """Of several rows the sum, among so many events; of a program alone what it takes more than an empty one."""
    rows = [Row("a", "sonde", {"ns": [100.0, 200.4, 300]}), Row("b", "sonde", {"ns": [51.0]})]
    found = Results({}, quick=False, parts={"made": Part("made", "", "", COLUMNS, rows)})

    assert costs.Cost("p", "o", "made", "ns", ("a",)).found_in(found) == 200
    assert costs.Cost("p", "o", "made", "ns", ("a", "b"), events=2).found_in(found) == 126
    assert costs.Cost("p", "o", "made", "ns", ("a",), floor="b").found_in(found) == 149
    assert costs.Cost("p", "o", "made", "ns", ("b",), floor="a").found_in(found) is None
    assert costs.Cost("p", "o", "made", "ns", ("a", "c")).found_in(found) is None
    assert costs.Cost("p", "o", "other", "ns", ("a",)).found_in(found) is None


@pytest.mark.parametrize("cost", costs.COSTS, ids=lambda cost: f"{cost.probe}.{cost.output}")
def test_a_cost_is_written_where_its_output_declares_it(cost: costs.Cost) -> None:
    declared = all_probes()[cost.probe].output(cost.output).cost_ns
    text = costs.declaration(cost.probe).read_text()

    changed = costs.with_cost(text, cost.output, 12_345)
    assert changed.count("cost_ns=12345,") == 1
    assert costs.with_cost(changed, cost.output, declared).replace("_", "") == text.replace("_", "")


@pytest.mark.parametrize("cost", costs.COSTS, ids=lambda cost: f"{cost.probe}.{cost.output}")
def test_what_is_declared_agrees_with_the_published_results(cost: costs.Cost, published: Results) -> None:
    measured = cost.found_in(published)

    assert measured in (None, all_probes()[cost.probe].output(cost.output).cost_ns)


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of tracefs, which another may not even look at."""
    monkeypatch.setattr(os, "geteuid", lambda: 65534)

    with pytest.raises(SystemExit, match="run them as root"):
        options.own_tracefs()


def test_a_run_ends_with_its_aims_where_its_losses_are_and_how_far_to_rely_on_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    __main__.conclude(Results({}, quick=True, parts={"made": part([10], [20])}), 1.0)

    told = capsys.readouterr().out
    assert "counting, added ns, to `syscount -P`" in told
    assert "Where sonde loses" in told
    assert "no figure to rely on" in told


@pytest.mark.parametrize("module", [crowds, streams])
def test_what_has_a_spread_is_measured_more_than_twice(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The median of two is their mean, and one has no spread."""
    measured = list[object]()
    monkeypatch.setattr(module, "one", lambda tool, *_: measured.append(tool.name))
    module.measure(options.Options(only=("no tracer",)))

    assert set(measured) == {"no tracer"}
    places = len(crowds.SIZES if module is crowds else streams.RATES)
    assert len(measured) >= 3 * places


def test_what_the_page_lacks_is_named() -> None:
    made = part([10], [20])
    assert "Not measured yet" in page.page(Results({}, quick=False, parts={"made": made}))
    assert "Not measured yet" not in page.page(
        Results({}, quick=False, parts=dict.fromkeys(page.ORDER, made))
    )


def test_a_floor_that_an_axis_has_no_place_for_is_not_named(tmp_path: Path) -> None:
    rows = [Row(name, "floor", {"ns": [ns]}) for name, ns in (("no tracer", 0), ("empty program", 77))]
    rows += [Row("sonde", "sonde", {"ns": [89]}), Row("strace", "peer", {"ns": [92_765]})]
    plots.draw(Part("made", "", "", COLUMNS, rows, plots=["ns"]), tmp_path / "made.svg")

    drawn = (tmp_path / "made.svg").read_text()
    assert ">empty program<" in drawn
    assert ">no tracer<" not in drawn


def test_lines_next_to_their_floors_are_told_apart_from_them(tmp_path: Path) -> None:
    """Where one takes much more than all others, the axis is logarithmic: it has powers of ten."""
    took: tuple[tuple[str, results.Kind, int], ...] = (
        ("no tracer", "floor", 55),
        ("sonde", "sonde", 80),
        ("strace", "peer", 1_400),
    )
    rows = [Row(name, kind, {"ns": [ns]}, at) for name, kind, ns in took for at in (10, 100)]
    plots.draw(Part("made", "", "", COLUMNS, rows, across="processes", plots=["ns"]), tmp_path / "made.svg")

    assert "1400" not in (tmp_path / "made.svg").read_text()


def test_every_plot_of_the_page_is_there(published: Results) -> None:
    text = (ROOT / "docs" / "comparison.md").read_text()
    drawn = {path.stem for path in (ROOT / "docs" / "comparison").glob("*.svg")}

    assert drawn == {name for name in published.parts if f"(comparison/{name}.svg)" in text}
