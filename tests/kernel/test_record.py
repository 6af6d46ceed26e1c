"""``sonde record``: what a report of it says is what was counted live, and what the workload did."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kernel.network import frame, pair
from kernel.places import small_disk
from kernel.sonde_process import PATIENCE_S, Output, balanced, busy, child, output_of, ready, sonde, start
from sonde.cli.record_command import words
from sonde.probe import Selection, Table
from sonde.probes import probe
from sonde.records.accounting import Accounting
from sonde.records.capture.header import OutputHeader, columns_of, header_here
from sonde.records.capture.kind import kind_of
from sonde.records.capture.writer import CaptureWriter
from sonde.records.model import RecordBatch, Sink
from sonde.records.pipeline import Pipeline
from sonde.run import Run
from sonde.views.json import JsonWriter
from sonde.views.ranking import Ranking
from sonde.views.top import Top
from sonde.views.trace import Trace

# The same on every kernel, and a virtual machine takes long for each of them.
pytestmark = pytest.mark.host_only

GETPPIDS, GETUIDS = 1009, 503
CALLS = f"for _ in range({GETPPIDS}): os.getppid()\nfor _ in range({GETUIDS}): os.getuid()"
SYSCALLS = "--syscall=getppid,getuid"


def report(path: Path, *arguments: str, **more: Any) -> Output:
    return sonde("report", str(path), *arguments, **more)


def counts(output: Output) -> dict[str, int]:
    found: Counter[str] = Counter()
    for row in output.final:
        found[row["syscall"]] += row["count"]
    return dict(found)


def did_its_calls(found: dict[str, int]) -> bool:
    """Tell whether the workload's calls are there, beside those that Python makes when it starts."""
    return found["getppid"] >= GETPPIDS and found["getuid"] >= GETUIDS


class Both:
    """A sink that hands everything to two others."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks

    def write(self, batch: RecordBatch) -> None:
        for sink in self._sinks:
            sink.write(batch)

    def close(self, accounting: Accounting) -> None:
        for sink in self._sinks:
            sink.close(accounting)


@pytest.mark.parametrize("name", ["latency", "counts", "calls"])
def test_a_report_says_what_was_said_live(tmp_path: Path, name: str) -> None:
    """One run, through a view at once and into a file: the final rows and the accounting are the same bytes."""
    path, live = tmp_path / "c.arrow", io.StringIO()
    with child(CALLS) as workload, Run(probe("syscalls"), name, selection=Selection(pid=workload.pid)) as run:
        output = run.output
        first = run.read()
        header = OutputHeader(
            f"syscalls.{name}",
            not isinstance(output, Table),
            columns_of(first.schema, {each: kind_of(each, first[each]) for each in first.schema.names}),
            shown=output.columns,
            sort=output.sort if isinstance(output, Table) else "",
        )
        with path.open("wb") as file:
            writer = CaptureWriter(file.fileno(), header_here((header,)), name=str(path))
            view: Sink
            if isinstance(output, Table):
                view = Top(JsonWriter(live), columns=output.columns, ranking=Ranking(output.sort))
            else:
                view = Trace(JsonWriter(live), columns=output.columns)
            both = Both(writer.sink(header.name), view)
            both.write(first)
            workload.run()
            Pipeline(run, both, every_s=0.05).run(duration_s=0.5)
    every = ["--every", "1ns"] if isinstance(output, Table) else []
    reported = report(path, "--format", "json", *every)

    assert GETPPIDS + GETUIDS <= reported.accounting["seen"]
    assert balanced(reported.accounting)
    assert live.getvalue() == reported.out


def test_the_workload_is_in_the_report(tmp_path: Path) -> None:
    path = tmp_path / "c.arrow"
    with child(CALLS) as workload:
        options = ["syscalls", "-o", str(path), SYSCALLS, "--pid", str(workload.pid), "--every", "100ms"]
        with ready("record", *options) as recording:
            workload.run()
            workload.end()
            recorded = output_of(recording)
    found = report(path, "--format", "json")

    assert 0 == recorded.status
    assert {"getppid": GETPPIDS, "getuid": GETUIDS} == counts(found)
    assert f"seen {found.accounting['seen']:,} = " in recorded.err
    assert recorded.err.endswith(f"in {path}: sonde report {path} shows it\n")
    assert balanced(found.accounting)


def test_several_outputs_of_one_command_agree(tmp_path: Path) -> None:
    path = tmp_path / "c.arrow"
    code = f"import os\n{CALLS}\nraise SystemExit(7)"
    options = ["-o", str(path), SYSCALLS, "syscalls.latency,syscalls.calls,syscalls.counts"]
    recorded = sonde("record", *options, "--", "python3", "-c", code)
    table, records = report(path, "--format", "json"), report(path, "--format", "json", "--view", "trace")
    begun = report(path, "--format", "json", "counts")

    assert 7 == recorded.status
    assert did_its_calls(counts(table))
    assert counts(table) == Counter(record["syscall"] for record in records.rows)
    assert counts(table) == counts(begun)
    assert all(balanced(each.accounting) for each in (table, records, begun))


def test_a_capture_goes_through_a_pipe() -> None:
    recording = start("record", "syscalls", "-o", "-", SYSCALLS, "--", "python3", "-c", f"import os\n{CALLS}")
    try:
        found = output_of(start("report", "-", "--format", "json", stdin=recording.stdout))
    finally:
        recording.communicate(timeout=PATIENCE_S)

    assert did_its_calls(counts(found))
    assert found.accounting["aggregated"] == sum(row["count"] for row in found.rows)


def test_what_a_killed_recording_had_written_is_readable(tmp_path: Path) -> None:
    """kill -9 in the middle of a storm: whole readings, one sentence, status 1."""
    path = tmp_path / "c.arrow"
    with busy() as pid, ready("record", "syscalls.calls", "-o", str(path), "--pid", str(pid)) as recording:
        until(lambda: path.stat().st_size > 200_000)
        recording.kill()
        recording.communicate()
    found = report(path, "--format", "json")

    assert 1 == found.status
    assert 1 == found.err.count("\n")
    assert f"sonde: {path}: it was cut short behind byte " in found.err
    assert found.accounting["delivered"] == len(found.rows) > 100


def test_a_signal_ends_a_recording_in_order(tmp_path: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        path = tmp_path / f"{number}.arrow"
        with busy() as pid, ready("record", "syscalls", "-o", str(path), "--pid", str(pid)) as recording:
            recording.send_signal(number)
            assert 0 == output_of(recording).status
        found = report(path, "--format", "json")
        assert 0 == found.status
        assert balanced(found.accounting)


def test_a_disk_that_is_full_is_one_sentence_and_what_was_written_is_readable(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk, busy() as pid:
        path = disk / "c.arrow"
        recorded = sonde("record", "syscalls.calls", "-o", str(path), "--pid", str(pid), "--for", "1h")
        found = report(path, "--format", "json")

    assert 1 == recorded.status
    assert (
        f"sonde: write {path}: no space left on device (ENOSPC): what was written before is readable: sonde report shows it\n"
        == recorded.err
    )
    assert 1 == found.status
    assert found.accounting["delivered"] == len(found.rows) > 0


def test_a_storm_is_recorded_whole_or_what_is_missing_is_counted(tmp_path: Path) -> None:
    calls = 200_003
    path = tmp_path / "c.arrow"
    code = f"import os\nfor _ in range({calls}): os.getppid()"
    recorded = sonde(
        "record", "syscalls.calls", "--syscall=getppid", "-o", str(path), "--", "python3", "-c", code
    )
    info = json.loads(report(path, "--info", "--format", "json").out)["outputs"][0]
    accounting = info["accounting"]

    assert 0 == recorded.status
    assert info["rows"] == accounting["delivered"]
    assert balanced(accounting)
    assert calls <= accounting["delivered"] + sum(accounting["lost"].values())


def test_a_command_that_is_not_there_costs_no_older_capture(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    path.write_bytes(b"older")
    found = sonde("record", "cpu", "-o", str(path), "--", "./no-such-command")
    assert (127, b"older") == (found.status, path.read_bytes())


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["syscals", "-o", "x"], 2, "sonde record: there is no probe 'syscals': did you mean syscalls?"),
        (["syscalls.call", "-o", "x"], 2, "there is no output 'syscalls.call': did you mean syscalls.calls"),
        (["syscalls,syscalls", "-o", "x"], 2, "syscalls is there twice: leave one out"),
        (["syscalls"], 2, "sonde record syscalls: "),
        (["-o", "x", "--for", "1s"], 2, "what to record is missing: sonde record PROBE -o x --for 1s: valid: "),
        (["syscalls.counts", "--errors", "-o", "x"], 2, "--errors does not go with syscalls.counts: record syscalls.latency or"),
        (["syscalls", "-o", "/nowhere/x", "--for", "1s"], 1, "write /nowhere/x: no such file or directory (ENOENT)"),
        (["syscalls", "-o", "/dev/full", "--for", "1s"], 1, "write /dev/full: no space left on device (ENOSPC)"),
    ],
)  # fmt: skip
def test_a_misuse_is_one_sentence(arguments: list[str], status: int, sentence: str, tmp_path: Path) -> None:
    run = sonde("record", *arguments, cwd=tmp_path)

    assert (status, 1) == (run.status, run.err.count("\n")), run.err
    assert sentence in run.err
    assert [] == os.listdir(tmp_path)


def until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def recorded_with_events(word: str, path: Path) -> Output:
    """Record while there is something: a command's, or frames that nobody wants, where no process can be selected."""
    given = ("record", word, "-o", str(path), "--every", "50ms")
    measured = probe(word.partition(".")[0])
    if measured.selects_processes:
        code = "import subprocess\nfor _ in range(5): subprocess.run(['true'])"
        return sonde(*given, "--", sys.executable, "-c", code)
    with pair() as ends, ends.near.entered():
        place = (
            ("--interface", ends.near.interface) if measured.on_interfaces else ("--netns", ends.near.path)
        )
        with ready(*given, *place) as process:
            ends.send(frame(ends.far, ends.near, 0x88B5, b"sonde"), count=17, sender=ends.far)
            process.send_signal(signal.SIGINT)
            return output_of(process)


@pytest.mark.parametrize("word", words())
def test_every_output_of_every_probe_can_be_recorded(word: str, tmp_path: Path) -> None:
    """Whatever columns it has, from its first reading to its last."""
    path = tmp_path / "c.arrow"
    recorded = recorded_with_events(word, path)
    found = report(path, "--format", "json")
    flat = report(path, "-o", str(tmp_path / "x.arrow"))

    assert 0 == recorded.status, recorded.err
    assert 0 == found.status, found.err
    assert balanced(found.accounting)
    assert ("", 0) == (flat.err, flat.status)
