"""``sonde report``: every view and format, from a file, without the kernel."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from captures import calls, rows, write
from sonde.records.accounting import Accounting
from sonde.views.json import JsonWriter
from sonde.views.ranking import Ranking
from sonde.views.top import Top

GOLDEN = Path(__file__).parents[1] / "golden" / "capture"
CAPTURE = GOLDEN / "syscalls.arrow"
"""``sonde record syscalls.latency,syscalls.calls --syscall openat,read,write,close --every 200ms -- sh -c 'cat …'``."""


def sonde(*arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(
        [sys.executable, "-m", "sonde", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "TZ": "UTC"},
        check=False,
        **more,
    )
    assert "Traceback" not in run.stderr, run.stderr
    return run


def report(*arguments: str | Path, **more: Any) -> str:
    run = sonde("report", *arguments, **more)
    assert 0 == run.returncode, run.stderr
    return run.stdout


def lines(*arguments: str | Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Give the rows of JSON, and the accounting behind them."""
    *found, last = map(json.loads, report(*arguments, "--format", "json").splitlines())
    return found, last["accounting"]


# ---- a real recording, of two outputs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("top", []),
        ("trace", ["--view", "trace", "--limit", "7"]),
        ("hist", ["--view", "hist", "--by", "comm,syscall", "--limit", "3"]),
        ("delta", ["--delta", "--limit", "4", "--sort", "comm"]),
    ],
)
def test_every_view_shows_a_recording_as_it_was(name: str, options: list[str]) -> None:
    assert (GOLDEN / f"{name}.txt").read_text() == report(CAPTURE, *options)


def test_the_rows_of_a_table_add_up_to_its_accounting() -> None:
    found, accounting = lines(CAPTURE)
    parts = [accounting[name] for name in ("delivered", "aggregated", "filtered", "sampled_out")]

    assert accounting["aggregated"] == sum(row["count"] for row in found)
    assert accounting["seen"] == sum(parts) + sum(accounting["lost"].values())


def test_the_records_of_a_stream_are_all_there_and_say_what_the_table_says() -> None:
    """Both outputs watched the same calls: each record is counted in the row of its process, call and error."""
    records, accounting = lines(CAPTURE, "calls")
    table, _ = lines(CAPTURE, "latency")
    counted = Counter((record["pid"], record["syscall"], record["error"]) for record in records)

    assert accounting["delivered"] == len(records)
    assert {(row["pid"], row["syscall"], row["error"]): row["count"] for row in table} == counted


def test_an_output_goes_by_its_probe_too() -> None:
    """As for ``sonde record``: a probe's name is its first output."""
    assert report(CAPTURE, "syscalls") == report(CAPTURE, "syscalls.latency")


def test_what_is_in_a_file_is_told() -> None:
    text = report(CAPTURE, "--info")
    found = json.loads(report(CAPTURE, "--info", "--format", "json"))

    assert "syscalls.calls: each call with its arguments, result and latency\n  179 records in " in text
    assert "  asked for: --syscall openat,read,write,close --every 200ms -- sh -c " in text
    assert ["syscalls.latency", "syscalls.calls"] == [output["name"] for output in found["outputs"]]
    assert [17, 179] == [output["rows"] for output in found["outputs"]]
    assert {"realtime_ns", "monotonic_ns", "boottime_ns"} == set(found["clocks"])


def test_it_loads_neither_libbpf_nor_rich_nor_nanoarrow() -> None:
    """It has to work on a machine without BPF, in a container, as anybody."""
    code = (
        "import sys\nfrom sonde.cli import main\n"
        f"try: main(['report', {str(CAPTURE)!r}, '-o', '/dev/null'])\n"
        "except SystemExit as end: print(end.code, [name for name in sys.modules if name.split('.')[0] in"
        " ('rich', 'nanoarrow', 'pyarrow') or name.startswith('sonde._libbpf')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "0 []" == run.stdout.strip()


def test_metrics_are_what_the_agent_would_have_exported() -> None:
    """The last reading's series add up to its rows; each has the start of the recording."""
    found = [json.loads(line) for line in report(CAPTURE, "--format", "metrics").splitlines()]
    by_pid = [json.loads(line) for line in report(CAPTURE, "--format", "metrics", "--by", "pid").splitlines()]
    _, accounting = lines(CAPTURE)
    histograms = [line for line in found if line["kind"] == "histogram"]

    assert {"sonde.syscall.duration"} == {line["metric"] for line in histograms}
    assert accounting["aggregated"] == sum(line["count"] for line in histograms)
    assert accounting["aggregated"] == sum(line.get("count", 0) for line in by_pid)
    assert all(line["start"] < line["time"] for line in found)
    assert any("pid" in line["attributes"] for line in by_pid)


# ---- formats ------------------------------------------------------------------------------------------------


def test_json_is_what_top_writes_live(tmp_path: Path) -> None:
    """The same batches, through the view at once and through a file."""
    batches = [rows(53, second=second, final=second == 2) for second in range(3)]
    path = write(tmp_path / "c.arrow", batches)
    live = io.StringIO()
    for delta, options in ((False, ["--every", "1s"]), (True, ["--delta"])):
        live = io.StringIO()
        top = Top(
            JsonWriter(live),
            columns=("pid", "comm", "count", "duration_max_ns"),
            ranking=Ranking("count"),
            delta=delta,
        )
        for batch in batches:
            top.write(batch)
        top.close(batches[-1].accounting)

        assert live.getvalue() == report(path, "--format", "json", *options)


def test_sampled_counts_are_estimates_here_too(tmp_path: Path) -> None:
    path = write(tmp_path / "c.arrow", [rows(5, scale=100, final=True)], knobs={"sample": 100})
    found, _ = lines(path)
    flat = pa.ipc.open_stream(report_to(tmp_path / "x.arrow", path)).read_all()

    assert rows(5)["count"].sum() * 100 == sum(row["count"] for row in found)
    assert {100} == {row["sampled_1_in"] for row in found}
    assert [100] * 5 == flat.column("sampled_1_in").to_pylist()
    assert rows(5)["count"].tolist() == flat.column("count").to_pylist()


def test_csv_has_the_accounting_beside_it() -> None:
    run = sonde("report", CAPTURE, "--format", "csv")
    found = list(csv.DictReader(io.StringIO(run.stdout)))
    expected, accounting = lines(CAPTURE)

    assert [str(row["count"]) for row in expected] == [row["count"] for row in found]
    assert f"seen {accounting['seen']:,} = " in run.stderr


def report_to(target: Path, *arguments: str | Path) -> Path:
    assert "" == report(*arguments, "-o", target)
    return target


@pytest.mark.parametrize("suffix", ["arrow", "parquet"])
def test_other_programs_get_all_columns_as_they_are(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / "c.arrow", [calls(101), calls(7), calls(0, final=True)])
    target = report_to(tmp_path / f"x.{suffix}", path)
    table = pq.read_table(target) if suffix == "parquet" else pa.ipc.open_stream(target).read_all()
    table.validate(full=True)
    expected = calls(101)

    assert list(expected.columns) == table.column_names
    assert 101 + 7 == table.num_rows
    assert expected["args"].tolist() == table.column("args").to_pylist()[:101]
    assert expected["pid"].tolist() == table.column("pid").to_pylist()[:101]
    assert pa.timestamp("ns", "UTC") == table.schema.field("time").type
    header = msgspec.json.decode(table.schema.metadata[b"sonde.header"])
    assert "test.calls" == header["outputs"][0]["name"]


def test_the_rows_of_a_table_have_the_moment_of_their_reading(tmp_path: Path) -> None:
    batches = [rows(3, second=second, final=second == 4) for second in range(5)]
    path = write(tmp_path / "c.arrow", batches)
    last = pq.read_table(report_to(tmp_path / "last.parquet", path))
    all_ = pq.read_table(report_to(tmp_path / "all.parquet", path, "--every", "1s"))

    assert (3, 15) == (last.num_rows, all_.num_rows)
    assert 5 == len(set(all_.column("time").cast(pa.int64()).to_pylist()))
    assert rows(3, second=4)["duration_buckets"].tolist() == last.column("duration_buckets").to_pylist()


def test_without_pyarrow_parquet_says_what_to_install() -> None:
    code = (
        "import importlib.util, sys\nfound = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'pyarrow' else found(name, *more)\n"
        f"from sonde.cli import main\nmain(['report', {str(CAPTURE)!r}, '-o', '/nowhere/x.parquet'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (1, "sonde: write Parquet: pyarrow is not installed: pip install sonde[parquet]\n") == (
        run.returncode,
        run.stderr,
    )


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.ndjson"])
def test_the_name_of_the_file_says_the_format(tmp_path: Path, name: str) -> None:
    report(CAPTURE, "-o", tmp_path / name)

    assert "accounting" in json.loads((tmp_path / name).read_text().splitlines()[-1])


def test_a_capture_comes_through_a_pipe() -> None:
    with CAPTURE.open("rb") as file:
        assert report(CAPTURE) == report("-", stdin=file)


# ---- what is wrong ------------------------------------------------------------------------------------------


def test_a_cut_file_is_shown_with_a_sentence_and_status_1(tmp_path: Path) -> None:
    data = CAPTURE.read_bytes()
    (tmp_path / "cut.arrow").write_bytes(data[: len(data) // 2])
    run = sonde("report", tmp_path / "cut.arrow", "calls", "--format", "json")
    found = [json.loads(line) for line in run.stdout.splitlines()]

    assert 1 == run.returncode
    assert run.stderr.startswith(f"sonde: {tmp_path}/cut.arrow: it was cut short behind byte ")
    assert 1 == run.stderr.count("\n")
    assert found[-1]["accounting"]["delivered"] == len(found) - 1 > 0


def test_a_cut_stream_is_shown_up_to_a_limit(tmp_path: Path) -> None:
    """Behind its last whole reading none is left that says how many records the limit left out."""
    path = write(tmp_path / "c.arrow", [calls(53), calls(53, second=1)], ended=False)
    run = sonde("report", path, "--limit", "2")

    assert (1, 1) == (run.returncode, run.stderr.count("\n")), run.stderr
    assert f"sonde: {path}: it was cut short behind byte " in run.stderr
    assert "… 104 more records came (--limit)\n" in run.stdout


def test_a_damaged_file_is_shown_up_to_the_damage(tmp_path: Path) -> None:
    batches = [rows(53, second=second, final=second == 2) for second in range(3)]
    data = bytearray(write(tmp_path / "c.arrow", batches).read_bytes())
    data[-5000] ^= 1
    (tmp_path / "damaged.arrow").write_bytes(data)
    run = sonde("report", tmp_path / "damaged.arrow")

    assert 1 == run.returncode
    assert "it is damaged: a reading's checksum is wrong behind byte " in run.stderr
    assert run.stderr.endswith("shown is what was whole, 2 readings\n")
    assert "(so far)" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["/nowhere/x"], 1, "sonde: read /nowhere/x: no such file or directory (ENOENT): give a file that sonde record wrote"),
        (["/"], 1, "sonde: read /: is a directory (EISDIR): give a file that sonde record wrote"),
        ([CAPTURE, "--view", "tpo"], 2, "sonde report: --view: there is no view 'tpo': did you mean top? valid: top, trace, hist"),
        ([CAPTURE, "call"], 2, "sonde: report call: there is no output 'call': did you mean calls"),
        ([CAPTURE, "calls", "--view", "top"], 2, "sonde: --view top: syscalls.calls cannot be shown by it: --view trace works"),
        ([CAPTURE, "--sort", "coutn"], 2, "sonde: --sort: there is no column 'coutn': did you mean count"),
        ([CAPTURE, "--view", "hist", "--by", "x"], 2, "sonde: --by: there is no column 'x'"),
        ([CAPTURE, "--view", "trace", "--delta"], 2, "sonde: --delta: it goes with top and hist, not with trace"),
        ([CAPTURE, "-o", "x.parquet", "--limit", "3"], 2, "sonde: --limit: it does not go with --format parquet"),
        ([CAPTURE, "-o", CAPTURE], 2, f"sonde: write {CAPTURE}: it is the capture itself: give -o another path"),
        ([__file__], 1, f"sonde: read {__file__}: it is no capture of sonde's"),
        ([CAPTURE, "-o", "/nowhere/x.parquet"], 1, "sonde: write /nowhere/x.parquet: no such file or directory (ENOENT)"),
        ([CAPTURE, "-o", "/dev/full"], 1, "sonde: write /dev/full: no space left on device (ENOSPC)"),
        ([CAPTURE, "--format", "arrow", "-o", "/dev/full"], 1, "no space left on device (ENOSPC)"),
        ([CAPTURE, "--format", "parquet", "-o", "/dev/full"], 1, "no space left on device (ENOSPC)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(arguments: list[Any], status: int, sentence: str) -> None:
    run = sonde("report", *arguments)

    assert (status, 1) == (run.returncode, run.stderr.count("\n")), run.stderr
    assert sentence in run.stderr
    assert CAPTURE.stat().st_size > 60_000


def test_an_output_without_a_whole_reading_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "c.arrow", [rows(1)], ended=False)
    path.write_bytes(path.read_bytes()[:-1])
    run = sonde("report", path)

    assert (1, f"sonde: read {path}: it holds no whole reading of test.rows: it was cut short\n") == (
        run.returncode,
        run.stderr,
    )


def test_a_capture_that_lies_of_its_columns_is_one_sentence(tmp_path: Path) -> None:
    """Its checksums are right, but what should be numbers is text."""
    batch = rows(5, final=True)
    path = write(
        tmp_path / "c.arrow", [batch.adding({"duration_max_ns": batch["comm"], "count": batch["comm"]})]
    )
    run = sonde("report", path, "--view", "hist")

    assert 1 == run.returncode
    assert f"sonde: read {path}: it contradicts itself (" in run.stderr
    assert 1 == run.stderr.count("\n")


def test_nothing_in_a_file_reaches_the_terminal_raw(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.arrow", [rows(9, final=True)], request="--comm \x1b[2J", filtered="\x1b[31m\x9b"
    )
    for options in (
        [],
        ["--info"],
        ["--view", "hist", "--by", "comm"],
        ["--format", "json"],
    ):
        text = report(path, *options)
        assert "\x1b" not in text, options
        assert "\x9b" not in text, options


def test_a_table_that_was_empty_is_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "c.arrow", [rows(1).picking(np.array([], dtype=int)), rows(0, final=True)])

    assert "nothing was seen" in report(path)
    assert [{"accounting": rows(0).accounting.as_dict()}] == [
        json.loads(line) for line in report(path, "--format", "json").splitlines()
    ]
    assert 0 == pq.read_table(report_to(tmp_path / "x.parquet", path)).num_rows
    assert Accounting().balanced
