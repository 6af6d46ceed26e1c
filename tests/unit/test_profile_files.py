"""Profiles as files for other programs: as they always were (tests/golden/profile), and as their own readers read them."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from profiles import HOSTILE, LIBC, ROWS, TOTAL, WORK, batch_of, hostile_rows, measured, profile_of, texts
from readers import pprof as pprof_reader
from readers import speedscope as speedscope_reader
from sonde.exporters.profiles.folded import folded
from sonde.exporters.profiles.pprof import pprof
from sonde.exporters.profiles.speedscope import speedscope
from sonde.records.frames import Frame
from sonde.records.profile import Profile, ProfileReader
from sonde.views.flame.html import SCRIPTS, html
from sonde.views.flame.svg import svg
from sonde_build.compilers import BuildError
from vendor_flame_graph import FOLDER, PACKAGES, script_of

GOLDEN = Path(__file__).resolve().parents[1] / "golden/profile"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def _universal_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The picture says when it was, where it is drawn."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


# ---- folded -------------------------------------------------------------------------------------------------


def test_folded_stacks_are_what_they_were() -> None:
    assert golden("cpu.folded") == folded(profile_of())


def test_folded_stacks_are_annotated_as_flamegraph_does() -> None:
    lines = folded(profile_of()).decode().splitlines()
    assert "work;_start;main;twenty(int);clamp<int>(int, int)_[i];less(int, int)_[i] 20" in lines
    assert "work;_start;main;read;do_syscall_64_[k];vfs_read_[k] 10" in lines
    assert "work;_start;main;seventy 70" in lines
    assert TOTAL == sum(int(line.rpartition(" ")[2]) for line in lines)


def test_hostile_names_keep_folded_stacks_whole() -> None:
    lines = folded(profile_of(hostile_rows())).decode().splitlines()
    assert len(HOSTILE) == len(lines)
    assert all(re.fullmatch(r"[^;]+;[^;]+;[^;]+_\[i\] \d+", line) for line in lines)
    assert all(line.isprintable() for line in lines)


# ---- svg ----------------------------------------------------------------------------------------------------


def test_the_picture_is_what_it_was() -> None:
    assert golden("cpu.svg") == svg(profile_of())


def test_the_picture_has_a_box_and_a_tip_for_each_frame() -> None:
    root = ET.fromstring(svg(profile_of()))
    boxes = {}
    for group in root.iter(f"{SVG}g"):
        title, rectangle = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        assert title is not None
        assert title.text is not None
        assert rectangle is not None
        boxes[title.text.split("\n")[0]] = (title.text, float(rectangle.attrib["width"]))
    text, width = boxes["seventy"]
    assert "seventy\n70 samples, 46.7 %; its own 46.7 %\nnative · /srv/bin/work · work.c:12" == text
    assert width == pytest.approx(boxes["all"][1] * 70 / TOTAL, abs=0.02)
    words = " ".join(each.text or "" for each in root.iter(f"{SVG}text"))
    assert "seen 159 = aggregated 150 + filtered 7 + lost 2 (skipped 2)" in words
    assert "broken off 7.3 %: python3.11" in words


def test_hostile_names_are_text_in_the_picture() -> None:
    root = ET.fromstring(svg(profile_of(hostile_rows())))
    tags = {each.tag.removeprefix(SVG) for each in root.iter()}
    assert {"svg", "title", "style", "rect", "text", "g"} == tags


def crowd() -> Profile:
    """Give a function each for 30,001 samples, of which the half is one's: with their thread and all, 15,003 boxes."""
    rows = [(7, "crowd", [Frame(f"f{number}")], 1) for number in range(15_000)]
    return profile_of([*rows, (7, "crowd", [Frame("large")], 15_001)])


def test_boxes_too_narrow_to_see_are_not_in_the_picture() -> None:
    titles = [each.text or "" for each in ET.fromstring(svg(crowd())).iter(f"{SVG}title")]
    assert ["sonde profile cpu", "all", "crowd", "large"] == [each.split("\n")[0] for each in titles]


def test_pictures_and_pages_say_how_many_boxes_they_leave_out(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "15,000 boxes lighter than 2 samples are left out"
    assert "are left out" not in svg(crowd()).decode()
    assert "are left out" not in html(crowd()).decode()
    for name, draw in (("svg", svg), ("html", html)):
        monkeypatch.setattr(f"sonde.views.flame.{name}.BOXES_MAX", 1000)
        assert words in draw(crowd()).decode()


# ---- the scripts of pages --------------------------------------------------------------------------------------


def test_vendored_scripts_are_of_the_pinned_versions() -> None:
    """vendor_flame_graph.py fetches them; what the page's notice and the licences say is of these."""
    paths = [FOLDER / Path(script_of(package)).name for package in PACKAGES]
    assert [f"{name}.min.js" for name in SCRIPTS] == [path.name for path in paths]
    assert sorted(paths) == sorted(FOLDER.iterdir())
    licences = (FOLDER.parents[4] / "LICENSES/third-party.txt").read_text()
    page = html(profile_of()).decode()
    for package, path in zip(PACKAGES, paths, strict=True):
        assert f"{package.name} {package.version}" in licences
        first = path.read_text().split("\n", 1)[0]
        if package.name == "d3-flame-graph":
            assert f"d3-flame-graph {package.version}" in page[:400]
        else:
            assert first.startswith(f"// https://d3js.org/{package.name}/ v{package.version} ")


# ---- speedscope ---------------------------------------------------------------------------------------------


def test_speedscope_files_are_what_they_were() -> None:
    assert golden("cpu.speedscope.json") == speedscope(profile_of())


def speedscope_folder() -> Path:
    try:
        return speedscope_reader.fetched()
    except BuildError as error:
        pytest.skip(f"speedscope cannot be had: {error}")


@pytest.mark.host_only
@pytest.mark.parametrize("weight", ["count", "blocked_ns"])
@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], hostile_rows(), []], ids=["rows", "one", "hostile", "none"])
def test_speedscope_files_are_by_speedscopes_own_schema(rows: list[object], weight: str) -> None:
    schema = json.loads((speedscope_folder() / "file-format-schema.json").read_text())
    file = json.loads(speedscope(profile_of(rows, weight=weight)))  # type: ignore[arg-type]
    jsonschema.validate(file, schema)
    count = len(file["shared"]["frames"])
    for profile in file["profiles"]:
        assert len(profile["samples"]) == len(profile["weights"])
        assert profile["endValue"] == sum(profile["weights"])
        assert all(0 <= frame < count for sample in profile["samples"] for frame in sample)


def test_speedscope_has_everything_first_and_then_each_thread() -> None:
    file = json.loads(speedscope(profile_of()))
    names = [each["name"] for each in file["profiles"]]
    assert ["everything", "work (41)", "python3 (50)", "python3 (51)", "work (43)"] == names[:5]
    assert round(TOTAL * 1e9 / 99) == pytest.approx(file["profiles"][0]["endValue"], abs=len(ROWS))


def test_speedscope_has_one_thread_once() -> None:
    file = json.loads(speedscope(profile_of(ROWS[:2])))
    assert ["work (41)"] == [each["name"] for each in file["profiles"]]


# ---- pprof --------------------------------------------------------------------------------------------------


def go_pprof(profile: Profile, tmp_path: Path, *arguments: str) -> str:
    try:
        program = pprof_reader.fetched()
    except BuildError as error:
        pytest.skip(f"Go's pprof cannot be had: {error}")
    path = tmp_path / "x.pb.gz"
    path.write_bytes(pprof(profile))
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "TZ": "UTC"}
    ended = subprocess.run(
        [program, "-symbolize=none", *arguments, path],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert "" == "\n".join(line for line in ended.stderr.splitlines() if "Main binary" not in line)
    return ended.stdout


@pytest.mark.host_only
def test_pprof_reads_what_functions_do(tmp_path: Path) -> None:
    text = go_pprof(
        profile_of(), tmp_path, "-top", "-nodecount=50", "-nodefraction=0", "-sample_index=samples"
    )
    rows = {}
    for line in text.splitlines():
        if found := re.fullmatch(r" +(\d+) +[\d.]+% +[\d.]+% +(\d+) +[\d.]+% +(.*)", line):
            rows[found[3]] = (int(found[1]), int(found[2]))
    assert "File: work" in text
    assert (70, 70) == rows["seventy"]
    assert (0, 100) == rows["main"]
    assert (0, 20) == rows["twenty(int)"]
    assert (0, 20) == rows["clamp<int>(int, int) (inline)"]
    assert (20, 20) == rows["less(int, int) (inline)"]
    assert (0, 31) == rows["py::run:/srv/job.py"]
    assert f"of {TOTAL} total" in text


@pytest.mark.host_only
def test_pprof_reads_the_whole_structure(tmp_path: Path) -> None:
    text = go_pprof(profile_of(), tmp_path, "-raw")
    assert "PeriodType: cpu nanoseconds" in text
    assert "Period: 10101010" in text
    assert "Duration: 10s" in text
    assert "samples/count cpu/nanoseconds[dflt]" in text
    assert "seen 159 = aggregated 150" in text
    # What was inlined is at one location with what it was inlined into, the innermost first.
    location = re.search(
        r"^ +\d+: .*less\(int, int\).*\n.*clamp<int>.*\n.*twenty\(int\).*", text, re.MULTILINE
    )
    assert location is not None
    assert "less.h:9" in location[0]
    assert "work.cc:7" in location[0]
    assert re.search(rf"^1: .*{WORK} *\[FN\]\[FL\]\[LN\]\[IN\]$", text, re.MULTILINE)
    assert LIBC in text
    assert "thread:[work]" in text
    assert "pid:[41]" in text


@pytest.mark.host_only
def test_pprof_reads_time_that_was_waited(tmp_path: Path) -> None:
    text = go_pprof(profile_of(weight="blocked_ns"), tmp_path, "-raw")
    assert "contentions/count delay/nanoseconds[dflt]" in text
    assert re.search(r"^ +63 +63000000: ", text, re.MULTILINE)


@pytest.mark.host_only
def test_pprof_reads_the_reason_and_the_waker(tmp_path: Path) -> None:
    batch = batch_of(ROWS[:1], weight="blocked_ns")
    batch = batch.adding({"reason": texts(["futex"]), "waker_comm": texts(["sshd"])})
    text = go_pprof(ProfileReader().read(batch, measured(batch, weight="blocked_ns")), tmp_path, "-raw")
    assert "reason:[futex]" in text
    assert "waker:[sshd]" in text


@pytest.mark.host_only
def test_pprof_takes_the_program_for_the_main_binary_not_a_heavier_library(tmp_path: Path) -> None:
    main, copy = Frame("main", module=WORK), Frame("memcpy", module=LIBC)
    light = Frame("light", module="/srv/bin/a")
    text = go_pprof(profile_of([(1, "work", [main, copy], 90), (1, "work", [main], 9)]), tmp_path, "-raw")
    assert re.search(rf"^1: .*{WORK} ", text, re.MULTILINE)
    text = go_pprof(profile_of([(1, "a", [light], 1), (1, "work", [main], 9)]), tmp_path, "-raw")
    assert re.search(rf"^1: .*{WORK} ", text, re.MULTILINE)


@pytest.mark.host_only
def test_pprof_reads_hostile_names_and_nothing_at_all(tmp_path: Path) -> None:
    assert "</script><img src=x onerror=alert(1)>" in go_pprof(profile_of(hostile_rows()), tmp_path, "-raw")
    assert "Samples:" in go_pprof(profile_of([]), tmp_path, "-raw")


def test_pprof_files_are_the_same_for_the_same_profile() -> None:
    one, other = pprof(profile_of()), pprof(profile_of())
    assert one == other
    assert gzip.decompress(one).count(b"seventy") == 1
