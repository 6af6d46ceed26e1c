"""Lines and inlined functions: from the file, from a debug file, from the cache of an earlier run; and without the library."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from elf_programs import (
    CPP_SOURCE,
    compiled,
    debug_file_of,
    elf,
    frames_at,
    stripped,
    symbols_by_nm,
    with_shared_names,
)
from sonde.enrich.symbols import debug_information
from sonde.enrich.symbols.binary import Binary, read_binary
from sonde.enrich.symbols.debug_information import SymbolCache, default_folder
from sonde.records.frames import INLINED, NATIVE, UNKNOWN

pytest.importorskip("symbolic")
ADD = "_ZN4shop4CartImE3addEm"


@pytest.fixture(scope="module", params=["pie", "static"])
def program(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    flags = {"pie": (), "static": ("-static", "-no-pie")}[request.param]
    return compiled(tmp_path_factory.mktemp("programs"), request.param, CPP_SOURCE, "-g", *flags)


def binary_of(path: Path, cache: SymbolCache | None, *, roots: tuple[str, ...] = ("",)) -> Binary:
    with path.open("rb") as file:
        found = read_binary(file.fileno(), str(path), roots=roots, cache=cache)
    assert found is not None
    return found


def stacks_in(binary: Binary, path: Path, name: str) -> set[tuple[tuple[str, str], ...]]:
    address, size = symbols_by_nm(path)[name]
    return {
        tuple((each.name, each.kind) for each in frames_at(binary, path, at))
        for at in range(address, address + size)
    }


def test_inlined_functions_are_frames_of_their_own_with_their_lines(program: Path, tmp_path: Path) -> None:
    binary = binary_of(program, SymbolCache(tmp_path))
    found = stacks_in(binary, program, ADD)
    add, price = ("shop::Cart<unsigned long>::add", NATIVE), ("price", INLINED)
    assert found == {(add,), (add, price)} or found == {(add,), (add, ("shop::price", INLINED))}
    address, size = symbols_by_nm(program)[ADD]
    lines = {each.source for at in range(size) for each in frames_at(binary, program, address + at)}
    assert any(line.endswith((".cpp:5", ".cpp:6")) for line in lines)


def test_a_debug_file_has_them_too(program: Path, tmp_path: Path) -> None:
    build_id = elf(program).build_id
    debug_file_of(program, tmp_path / f"usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug")
    binary = binary_of(stripped(program), SymbolCache(tmp_path / "cache"), roots=(str(tmp_path),))
    assert any(len(each) == 2 for each in stacks_in(binary, program, ADD))


def test_inlined_functions_whose_names_lie_elsewhere_are_their_caller_s(
    program: Path, tmp_path: Path
) -> None:
    """Packages share names of debug information in a file beside it: without them all inlined functions were one, "[unknown]"."""
    shared = with_shared_names(program)
    assert elf(shared).section(".gnu_debugaltlink") is not None
    found = stacks_in(binary_of(shared, SymbolCache(tmp_path)), program, ADD)
    assert found == {(("shop::Cart<unsigned long>::add", NATIVE),)}


def test_they_are_converted_once(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run, which is another object here, finds what the first has left."""
    first = stacks_in(binary_of(program, SymbolCache(tmp_path)), program, ADD)
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith(elf(program).build_id)
    monkeypatch.setattr(debug_information, "_convert", lambda *_: pytest.fail("converted again"))
    assert stacks_in(binary_of(program, SymbolCache(tmp_path)), program, ADD) == first


def test_nobody_else_may_read_the_cache(program: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "symbols"
    stacks_in(binary_of(program, SymbolCache(folder)), program, ADD)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()] == [0o600]


def test_another_users_file_of_the_same_build_id_is_another(program: Path, tmp_path: Path) -> None:
    """Whoever makes a file with libc's build id does not thereby name libc's functions."""
    if os.geteuid() != 0:
        pytest.skip(f"needs root to own a file as another user, runs as user {os.geteuid()}")
    other = tmp_path / "other"
    other.write_bytes(program.read_bytes())
    os.chown(other, 65534, 65534)
    cache = SymbolCache(tmp_path / "cache")
    for each in (program, other):
        stacks_in(binary_of(each, cache), program, ADD)
    build_id = elf(program).build_id
    assert {each.name for each in (tmp_path / "cache").iterdir()} == {build_id, f"{build_id}-65534"}


@pytest.mark.parametrize("content", [b"", b"SYMC", b"\xff" * 5000, None])
def test_a_broken_cache_is_made_anew(program: Path, tmp_path: Path, content: bytes | None) -> None:
    expected = stacks_in(binary_of(program, SymbolCache(tmp_path)), program, ADD)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:-100] if content is None else content)
    assert stacks_in(binary_of(program, SymbolCache(tmp_path)), program, ADD) == expected


def test_the_cache_is_bounded_and_the_oldest_goes_first(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debug_information, "CACHE_BYTES_MAX", 2_000_000)
    for number in range(3):
        old = tmp_path / f"{number:040x}"
        old.write_bytes(bytes(900_000))
        os.utime(old, (1000 - number, 1000 - number))
    binary_of(program, SymbolCache(tmp_path))
    left = {each.name for each in tmp_path.iterdir()}
    assert len(left & {f"{number:040x}" for number in range(3)}) < 3
    assert f"{2:040x}" not in left


def test_what_a_killed_run_left_half_made_is_removed(program: Path, tmp_path: Path) -> None:
    for name, age_s in ((".old.part", 2 * debug_information.PART_S), (".new.part", 0)):
        (tmp_path / name).write_bytes(b"half")
        then = time.time() - age_s
        os.utime(tmp_path / name, (then, then))
    stacks_in(binary_of(program, SymbolCache(tmp_path)), program, ADD)
    assert {each.name for each in tmp_path.iterdir()} == {".new.part", elf(program).build_id}


def test_a_file_that_cannot_be_converted_has_its_functions(program: Path, tmp_path: Path) -> None:
    """Its debug information is overwritten, its symbols are not."""
    section = elf(program).section(".debug_info")
    abbreviations = elf(program).section(".debug_abbrev")
    assert section is not None
    assert abbreviations is not None
    data = bytearray(program.read_bytes())
    for each in (section, abbreviations):
        data[each.offset : each.offset + each.size_bytes] = b"\xff" * each.size_bytes
    broken = tmp_path / "broken"
    broken.write_bytes(data)
    found = stacks_in(binary_of(broken, SymbolCache(tmp_path / "cache")), program, ADD)
    assert found == {(("shop::Cart<unsigned long>::add", NATIVE),)}


def test_a_file_that_is_too_large_is_not_converted(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debug_information, "SOURCE_BYTES_MAX", 1000)
    monkeypatch.setattr(debug_information, "_convert", lambda *_: pytest.fail("converted"))
    found = stacks_in(binary_of(program, SymbolCache(tmp_path)), program, ADD)
    assert found == {(("shop::Cart<unsigned long>::add", NATIVE),)}


def test_no_more_are_converted_at_a_time_than_there_are_cpus(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of those that had to be waited for nothing is lost."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    cache = SymbolCache(tmp_path)
    begun = [binary_of(program, cache) for _ in range(5)]
    assert len(cache._running) == 2
    found = [stacks_in(each, program, ADD) for each in begun]
    assert all(each == found[0] for each in found)
    assert max(map(len, found[0])) == 2


def test_a_conversion_that_does_not_end_is_ended(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def asleep(*_: int) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen(["sleep", "20"]))
        return begun[0]

    monkeypatch.setattr(debug_information, "CONVERTING_S", 0.1)
    monkeypatch.setattr(debug_information, "_convert", asleep)
    found = stacks_in(binary_of(program, SymbolCache(tmp_path)), program, ADD)
    assert found == {(("shop::Cart<unsigned long>::add", NATIVE),)}
    assert begun[0].poll() == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_may_be_kept_lines_are_read_all_the_same(program: Path, tmp_path: Path) -> None:
    """The folder's name is a file's: not even root can make it."""
    (tmp_path / "file").write_text("")
    cache = SymbolCache(tmp_path / "file" / "symbols")
    assert max(map(len, stacks_in(binary_of(program, cache), program, ADD))) == 2


def test_without_the_library_functions_are_named_and_it_is_known(program: Path) -> None:
    binary = binary_of(program, None)
    assert binary.is_partial
    assert stacks_in(binary, program, ADD) == {(("shop::Cart<unsigned long>::add", NATIVE),)}


def test_an_address_in_no_function_is_the_files(program: Path) -> None:
    (frame,) = frames_at(binary_of(stripped(program), None), program, symbols_by_nm(program)[ADD][0])
    assert (frame.name, frame.kind, frame.module) == (
        f"[{program.name}-stripped]",
        UNKNOWN,
        f"{program}-stripped",
    )


def test_the_cache_lies_where_caches_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/tmp/cache")
    assert default_folder() == Path("/var/tmp/cache/sonde/symbols") / debug_information.FORMAT
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_folder().is_relative_to("/home/somebody/.cache/sonde")
