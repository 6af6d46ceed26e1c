"""Functions of ELF files by address, of files that the compiler made, and of what is left of them when they are damaged."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from elf_programs import (
    C_SOURCE,
    compiled,
    debug_file_of,
    elf,
    offset_of,
    run,
    stripped,
    symbols_by_nm,
    with_debug_link,
    with_packed_symbols,
)
from sonde.enrich.symbols.binary import Binary
from sonde.enrich.symbols.debug_files import open_debug_file
from sonde.enrich.symbols.elf import DamagedFileError, ElfFile, Segment, Symbols, addresses_of
from sonde.enrich.symbols.function_symbols import FunctionSymbols, read_functions
from sonde.enrich.symbols.thread_roots import is_thread_begin, is_thread_root
from sonde.enrich.symbols.vdso import vdso

KINDS = {"pie": ("-pie", "-fPIE"), "no-pie": ("-no-pie", "-fno-pie"), "static": ("-static",)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


def names(functions: FunctionSymbols, *addresses: int) -> list[str | None]:
    places = functions.places(np.array(addresses, np.uint64)).tolist()
    return [functions.name(place) if place >= 0 else None for place in places]


@pytest.mark.parametrize("kind", KINDS)
def test_functions_have_their_names_from_first_byte_to_last(folder: Path, kind: str) -> None:
    path = compiled(folder, kind, C_SOURCE, *KINDS[kind])
    functions = read_functions(elf(path))
    for name in ("inner", "outer", "main"):
        address, size = symbols_by_nm(path)[name]
        assert names(functions, address, address + size - 1) == [name, name]
        assert names(functions, address + size) != [name]


@pytest.mark.parametrize("kind", KINDS)
def test_a_place_in_the_file_is_an_address_of_its_symbols(folder: Path, kind: str) -> None:
    path = compiled(folder, kind, C_SOURCE, *KINDS[kind])
    address, _ = symbols_by_nm(path)["outer"]
    places = np.array([offset_of(path, address), 1 << 62], np.uint64)
    assert addresses_of(elf(path).segments, places).tolist() == [address, 2**64 - 1]


def test_where_segments_share_a_page_of_the_file_code_wins() -> None:
    segments = [Segment(0, 0x1000, 0x1000, is_code=True), Segment(0x800, 0x5000, 0x1000, is_code=False)]
    places = np.array([0x700, 0x900, 0x1100], np.uint64)
    for each in (segments, segments[::-1]):
        assert addresses_of(each, places).tolist() == [0x1700, 0x1900, 0x5900]


def test_a_build_id_is_found_without_sections(folder: Path) -> None:
    """Some tools take the table of sections away; the segment with the note stays."""
    data = bytearray(compiled(folder, "sectionless", C_SOURCE, "-Wl,--build-id=sha1").read_bytes())
    expected = ElfFile.of_bytes(bytes(data)).build_id
    data[0x28:0x30], data[0x3C:0x40] = bytes(8), bytes(4)
    found = ElfFile.of_bytes(bytes(data))
    assert (len(expected), found.sections, found.build_id) == (40, (), expected)


def test_what_lies_between_functions_is_in_none() -> None:
    text = b"\0wide\0narrow\0open\0"
    functions = FunctionSymbols(
        [
            Symbols(
                np.array([100, 120, 300, 400], np.uint64),
                np.array([200, 130, 300, 450], np.uint64),
                np.array([1, 6, 13, 13], np.uint32),
                text,
            )
        ]
    )
    assert names(functions, 99, 100, 125, 130, 199, 200, 300, 449, 450) == [
        *(None, "wide", "narrow", "wide", "wide"),
        *(None, None, "open", None),
    ]


def test_of_several_names_the_public_one_counts(folder: Path) -> None:
    source = C_SOURCE + (
        'long _hidden(long) __attribute__((alias("outer")));\nlong weak(long) __attribute__((weak, alias("outer")));\n'
    )
    source += 'long _second(long x) { return x; }\nlong second(long) __attribute__((alias("_second")));\n'
    path = compiled(folder, "aliases", source)
    addresses = [symbols_by_nm(path)[name][0] for name in ("outer", "second")]
    assert names(read_functions(elf(path)), *addresses) == ["outer", "second"]


def test_of_a_stripped_program_functions_are_unknown_and_not_misnamed(folder: Path) -> None:
    path = compiled(folder, "whole", C_SOURCE)
    address, _ = symbols_by_nm(path)["inner"]
    assert names(read_functions(elf(stripped(path))), address) == [None]


def test_stubs_are_named_by_what_they_call(folder: Path) -> None:
    source = '#include <stdio.h>\nint main(void) { return puts("") + remove(""); }\n'
    path = compiled(folder, "calls", source, "-fno-builtin", "-Wl,-z,lazy", "-fcf-protection=none")
    functions = read_functions(elf(path))
    found = [functions.name(place) for place in range(len(functions))]
    assert {"puts@plt", "remove@plt"} <= set(found)


def test_symbols_packed_into_a_stripped_file_are_found(folder: Path) -> None:
    path = compiled(folder, "fedora", C_SOURCE)
    packed = with_packed_symbols(stripped(path), path)
    address, _ = symbols_by_nm(path)["inner"]
    assert names(read_functions(elf(packed)), address) == ["inner"]


def test_a_debug_file_is_found_by_build_id(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compiled(folder, "identified", C_SOURCE, "-Wl,--build-id=sha1")
    build_id = elf(path).build_id
    assert len(build_id) == 40
    debug_file_of(path, folder / f"root/usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug")
    with stripped(path).open("rb") as file:
        binary = Binary(file.fileno(), "/bin/identified", roots=("", str(folder / "root")))
    address, _ = symbols_by_nm(path)["inner"]
    assert names(binary.functions, address) == ["inner"]


def test_a_debug_file_of_another_build_is_not_taken(folder: Path, tmp_path: Path) -> None:
    """Whoever has put it there: its functions lie elsewhere."""
    path = compiled(folder, "newer", C_SOURCE, "-Wl,--build-id=sha1")
    older = compiled(folder, "older", C_SOURCE.replace("outer", "former"), "-Wl,--build-id=sha1")
    build_id = elf(path).build_id
    assert elf(older).build_id != build_id
    place = tmp_path / f"usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
    debug_file_of(older, place)
    assert open_debug_file(elf(path), "/bin/newer", roots=(str(tmp_path),)) is None


@pytest.mark.parametrize("where", ["", ".debug/", "usr/lib/debug{folder}/"])
def test_a_debug_file_is_found_by_its_name_and_checked(tmp_path: Path, where: str) -> None:
    """Beside the program, in .debug beside it, and below /usr/lib/debug: in a process's root, here the test's folder."""
    path = compiled(tmp_path, "linked", C_SOURCE, "-Wl,--build-id=none")
    if where.startswith("usr"):
        debug = tmp_path / where.format(folder="/srv") / "linked.debug"
    else:
        debug = tmp_path / "srv" / f"{where}linked.debug"
    debug_file_of(path, debug)
    named = elf(with_debug_link(stripped(path), debug))
    assert named.debug_link is not None
    fd = open_debug_file(named, "/srv/linked", roots=(str(tmp_path),))
    assert fd is not None
    # One of that name whose content is another is not taken.
    debug.write_bytes(debug.read_bytes()[:-1] + b"?")
    assert open_debug_file(named, "/srv/linked", roots=(str(tmp_path),)) is None


def test_a_debug_link_leads_nowhere_else() -> None:
    """Its name is a name, not a path."""
    assert ElfFile.of_bytes(_with_link(b"good.debug")).debug_link is not None
    for name in (b"../../etc/shadow", b"/etc/shadow", b"..", b""):
        assert ElfFile.of_bytes(_with_link(name)).debug_link is None


def _with_link(name: bytes) -> bytes:
    """Make the smallest file with a .gnu_debuglink: header, names, content, section headers."""
    import struct

    names = b"\0.shstrtab\0.gnu_debuglink\0"
    link = name + b"\0" * (4 - len(name) % 4) + b"\1\2\3\4"
    at = 64 + len(names) + len(link)
    header = struct.pack(
        "=16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1" + bytes(9), 3, 62, 1, 0, 0, at, 0, 64, 56, 0, 64, 3, 1
    )
    sections = [
        (0,) * 10,
        (1, 3, 0, 0, 64, len(names), 0, 0, 1, 0),
        (11, 1, 0, 0, 64 + len(names), len(link), 0, 0, 1, 0),
    ]
    return header + names + link + b"".join(struct.pack("=IIQQQQIIQQ", *each) for each in sections)


def test_the_functions_that_begin_threads_are_known_in_a_stripped_c_library() -> None:
    """No debug file is looked at here: only what every installed libc has."""
    path = next(
        (
            line.split()[-1]
            for line in Path("/proc/self/maps").read_text().splitlines()
            if "libc.so.6" in line
        ),
        "",
    )
    if not path:
        pytest.skip("this Python runs on no libc.so.6: /proc/self/maps names none")
    functions = read_functions(elf(Path(path)))
    found = {functions.name(place) for place in range(len(functions))}
    assert {"start_thread", "__libc_start_call_main"} <= found


def test_a_stack_ends_where_threads_begin() -> None:
    for name in ("_start", "start_thread", "__libc_start_main@@GLIBC_2.34", "runtime.goexit.abi0"):
        assert is_thread_root(name)
        assert is_thread_begin(name)
    for name in ("clone3", "__clone"):
        assert is_thread_root(name)
        assert not is_thread_begin(name)
    for name in ("main", "restart", "start_thread_pool", "_start_server"):
        assert not is_thread_root(name)


def test_the_vdso_is_ours() -> None:
    found = vdso()
    assert found is not None
    _, functions = found
    assert any("clock_gettime" in functions.name(place) for place in range(len(functions)))


def test_damaged_files_give_names_or_none_and_never_an_error(folder: Path) -> None:
    """Thousands of files, each with some bytes changed, cut off, or headers filled with the largest numbers."""
    path = with_packed_symbols(stripped(compiled(folder, "victim", C_SOURCE, "-g")), folder / "victim")
    whole, chance = path.read_bytes(), random.Random(7)
    addresses = np.array([0, 0x1000, 0x1139, 2**63, 2**64 - 1], np.uint64)
    refused = 0
    for number in range(3000):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            # Headers at the beginning and the end, where most is decided.
            at = chance.choice(
                [chance.randrange(64), -chance.randrange(1, 3000), chance.randrange(len(data))]
            )
            size = chance.choice([1, 2, 4, 8])
            data[at : at + size or None] = chance.choice([b"\xff", b"\0", b"\x80"]) * size
        if number % 5 == 0:
            del data[chance.randrange(len(data)) :]
        try:
            file = ElfFile.of_bytes(bytes(data))
        except DamagedFileError:
            refused += 1
            continue
        functions = read_functions(file)
        names(functions, *addresses.tolist())
        addresses_of(file.segments, addresses)
        _ = file.build_id, file.debug_link, file.load_address, file.has_debug_information
    assert 0 < refused < 2500


def test_what_is_no_file_of_ours_is_said() -> None:
    for data in (
        b"",
        b"\x7fELF",
        b"#!/bin/sh\n" * 10,
        b"\x7fELF\2\2" + bytes(60),
        b"\x7fELF\2\1" + bytes(20),
    ):
        with pytest.raises(DamagedFileError):
            ElfFile.of_bytes(data)


def test_a_packed_table_that_would_fill_memory_is_not_taken(folder: Path) -> None:
    import lzma

    path = stripped(compiled(folder, "bomb", C_SOURCE))
    packed = folder / "bomb.xz"
    packed.write_bytes(lzma.compress(bytes(80 << 20), format=lzma.FORMAT_XZ))
    target = folder / "bomb-packed"
    run("objcopy", f"--add-section=.gnu_debugdata={packed}", str(path), str(target))
    assert len(read_functions(elf(target))) < 100
