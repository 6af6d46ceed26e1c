"""The lists of compiled code that programs write to /tmp: read on while they grow, and whatever is in them."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sonde.enrich.symbols import perf_map
from sonde.enrich.symbols.perf_map import RESTS, MapText, PerfMap, named, perf_map_of


def names(found: PerfMap, *addresses: int) -> list[str]:
    return found.names(np.array(addresses, np.uint64))


class Clock:
    """A clock that goes on by ``step`` whenever it is asked: so much a reading takes."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_entries_are_from_start_to_end(tmp_path: Path) -> None:
    path = tmp_path / "perf-1.map"
    path.write_text("7f00 10 first\n0x8000 0x20 second one\n9000 1 LazyCompile:~run /srv/a.js:3\n")
    found = PerfMap((str(path),), owner=None)
    assert names(found, 0x7EFF, 0x7F00, 0x7F0F, 0x7F10, 0x801F, 0x9000) == [
        *("", "first", "first", "", "second one", "LazyCompile:~run /srv/a.js:3")
    ]


def test_it_is_read_on_for_an_unknown_address_but_not_always(tmp_path: Path) -> None:
    """What takes long to read is read seldom."""
    path, clock = tmp_path / "perf-1.map", Clock(step=1.0)
    path.write_text("1000 10 old\n2000 10 ha")
    found = PerfMap((str(path),), owner=None, clock_s=clock)
    assert names(found, 0x1000, 0x2000) == ["old", ""]
    with path.open("a") as file:
        file.write("lf\n1000 10 new\n")
    assert names(found, 0x2000) == [""]
    clock.now += RESTS
    # What was compiled in another's place is what is there.
    assert names(found, 0x2000, 0x1000) == ["half", "new"]


def test_what_a_program_writes_as_it_ends_is_read_however_soon(tmp_path: Path) -> None:
    """Java writes its map then (-XX:+DumpPerfMapAtExit), and the last reading may come a moment after another."""
    path, clock = tmp_path / "perf-1.map", Clock()
    found = PerfMap((str(path),), owner=None, clock_s=clock)
    assert names(found, 0x1000) == [""]
    path.write_text("1000 10 first\n")
    assert names(found, 0x1000, 0x2000) == ["first", ""]
    with path.open("a") as file:
        file.write("2000 10 last\n")
    assert names(found, 0x2000) == ["last"]


def test_in_many_pieces_it_is_read_as_a_whole_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf_map, "PIECES_MAX", 3)
    path, clock = tmp_path / "perf-1.map", Clock()
    found = PerfMap((str(path),), owner=None, clock_s=clock)
    for number in range(1, 11):
        with path.open("a") as file:
            file.write(f"{number}000 10 f{number}\n")
        known = [f"f{each}" for each in range(1, number + 1)]
        assert names(found, *(int(f"{each}000", 16) for each in range(1, number + 1))) == known
        assert len(found._pieces) <= 3


@pytest.mark.parametrize(
    ("lines", "is_another"), [(1, True), (100, True), (1, False)], ids=["shorter", "longer", "truncated"]
)
def test_another_file_of_that_name_is_read_anew(tmp_path: Path, lines: int, *, is_another: bool) -> None:
    path, clock = tmp_path / "perf-1.map", Clock()
    path.write_text("1000 10 before\n" * 10)
    found = PerfMap((str(path),), owner=None, clock_s=clock)
    assert names(found, 0x1000) == ["before"]
    if is_another:
        path.rename(tmp_path / "before")
    path.write_text("2000 10 after\n" * lines)
    assert names(found, 0x2000, 0x1000) == ["after", ""]


def test_of_a_huge_file_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf_map, "FILE_BYTES_MAX", 1 << 16)
    path = tmp_path / "perf-1.map"
    path.write_text("".join(f"{number * 16:x} 10 f{number}\n" for number in range(1, 20_000)))
    found = PerfMap((str(path),), owner=None)
    assert names(found, 16, 19_999 * 16) == ["", "f19999"]


def test_who_may_not_name_the_process_s_code_does_not(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip(f"needs root to own a file as another user, runs as user {os.geteuid()}")
    path = tmp_path / "perf-1.map"
    path.write_text("1000 10 lie\n")
    os.chown(path, 65534, 65534)
    assert names(PerfMap((str(path),), owner=1000), 0x1000) == [""]
    assert names(PerfMap((str(path),), owner=65534), 0x1000) == ["lie"]


def test_neither_links_nor_pipes_are_followed(tmp_path: Path) -> None:
    """A pipe would make us wait for ever, a link leads to a file that its maker may not write."""
    real = tmp_path / "real"
    real.write_text("1000 10 elsewhere\n")
    link, pipe = tmp_path / "perf-1.map", tmp_path / "perf-2.map"
    link.symlink_to(real)
    os.mkfifo(pipe)
    assert names(PerfMap((str(link), str(pipe), "/dev/zero", str(tmp_path)), owner=None), 0x1000) == [""]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n\n\n",
        b"1000\n1000 \n1000 10\n1000 10 \n",
        b"g000 10 name\n1000 xx name\n-1 10 name\n",
        b"11112222333344445 10 too long\n1000 11112222333344445 too long\n",
        b"ffffffffffffffff 10 wraps\nfffffffffffffff0 f end\n",
        b"1000 0 nothing\n",
        b"0x 10 name\n0x1000 0x name\n",
        b"\xff\xfe \x80 \x00\n" * 100,
        b"1000 10 " + b"x" * 100_000 + b"\n",
    ],
)
def test_lines_that_are_none_are_passed_over(text: bytes) -> None:
    found = MapText(text + b"5000 10 good\n")
    place = found.places(np.array([0x5000], np.uint64))[0]
    assert found.name(int(place)) == "good"
    assert len(found) <= 2


def test_any_bytes_are_read_without_an_error() -> None:
    chance = random.Random(11)
    for _ in range(2000):
        text = bytes(chance.choice(b"0123456789abcdefx \n\xff\0") for _ in range(chance.randrange(200)))
        found = MapText(text[: text.rfind(b"\n") + 1])
        found.places(np.array([0, 1, 0x100, 2**64 - 1], np.uint64))


def test_the_map_of_a_process_is_in_its_own_tmp_by_its_own_number() -> None:
    path = Path(f"/tmp/perf-{os.getpid()}.map")
    path.write_text("1000 10 own\n")
    try:
        assert names(perf_map_of((os.getpid(),)), 0x1000) == ["own"]
    finally:
        path.unlink()


def test_a_container_has_another_tmp_and_other_numbers() -> None:
    """What is process 1 inside writes perf-1.map, where nobody outside sees it."""
    if os.geteuid() != 0:
        pytest.skip(f"needs root to make namespaces, runs as user {os.geteuid()}")
    script = (
        "mount -t tmpfs tmpfs /tmp && echo 1000 10 inside >/tmp/perf-1.map && echo ready && exec sleep 60"
    )
    options = ("--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")
    with subprocess.Popen(["unshare", *options, "sh", "-c", script], stdout=subprocess.PIPE) as outside:
        try:
            assert outside.stdout is not None
            assert outside.stdout.readline() == b"ready\n"
            (pid,) = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()
            assert names(perf_map_of((int(pid),)), 0x1000) == ["inside"]
        finally:
            outside.kill()


def test_pythons_names_are_readable() -> None:
    assert named("py::run:/srv/app/work.py") == ("run (work.py)", "/srv/app/work.py")
    assert named("py::Cart.<locals>.add:/srv/cart.py") == ("Cart.<locals>.add (cart.py)", "/srv/cart.py")
    assert named("py::<module>:<frozen importlib._bootstrap>") == (
        "<module> (<frozen importlib._bootstrap>)",
        "<frozen importlib._bootstrap>",
    )
    assert named("LazyCompile:~run /srv/a.js:3") == ("LazyCompile:~run /srv/a.js:3", "")
