"""Go's own table of functions: names of programs that were stripped, and whatever stands in it."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from elf_programs import C_SOURCE, compiled, elf, frames_at, run, stripped, symbols_by_nm
from sonde.enrich.symbols.binary import Binary
from sonde.enrich.symbols.elf import ORDER, SHT_SYMTAB, ElfFile
from sonde.enrich.symbols.function_symbols import read_functions
from sonde.enrich.symbols.go_functions import MAGICS, go_functions

NAMES = ("main.main", "main.(*Cart[go.shape.int]).Add")


def table_of(
    functions: Sequence[tuple[str, int, int]], *, magic: int = MAGICS[-1], text_start: int | None = None
) -> bytes:
    """Make a table of functions with their addresses: each ends where the next one begins, the last one at its end."""
    text_start = functions[0][1] if text_start is None else text_start
    names, at = b"", []
    for name, _, _ in functions:
        at.append(len(names))
        names += name.encode() + b"\0"
    names_at = 8 + 8 * 8
    names += b"\0" * (-len(names) % 8)
    table_at = names_at + len(names)
    infos_at = 8 * len(functions) + 8
    table = b"".join(
        struct.pack(f"{ORDER}II", start - text_start, infos_at + 8 * number)
        for number, (_, start, _) in enumerate(functions)
    )
    table += struct.pack(f"{ORDER}II", functions[-1][2] - text_start, 0)
    table += b"".join(
        struct.pack(f"{ORDER}II", start - text_start, name)
        for name, (_, start, _) in zip(at, functions, strict=True)
    )
    header = struct.pack(f"{ORDER}IHBB", magic, 0, 1, 8)
    header += struct.pack(
        f"{ORDER}8Q", len(functions), 0, text_start, names_at, table_at, table_at, table_at, table_at
    )
    return header + names + table


def with_table(path: Path, table: bytes, *, section: str = ".gopclntab") -> Path:
    """Make a copy of a program that has a table of Go's."""
    content, target = path.with_name("table"), path.with_name(f"{path.name}-go")
    content.write_bytes(table)
    run("objcopy", f"--add-section={section}={content}", str(path), str(target))
    return target


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return compiled(tmp_path, "program", C_SOURCE)


def functions_of(program: Path) -> list[tuple[str, int, int]]:
    """Give two functions names of Go's, with where they begin and end."""
    found = symbols_by_nm(program)
    places = sorted((found["inner"], found["outer"]))
    return [(name, start, start + size) for name, (start, size) in zip(NAMES, places, strict=True)]


@pytest.mark.parametrize("magic", MAGICS)
@pytest.mark.parametrize("section", [".gopclntab", ".data.rel.ro.gopclntab"])
def test_a_stripped_program_has_its_names(program: Path, magic: int, section: str) -> None:
    functions = functions_of(program)
    path = with_table(stripped(program), table_of(functions, magic=magic), section=section)
    with path.open("rb") as file:
        binary = Binary(file.fileno(), str(path))
    for name, start, end in functions:
        assert [name] == [each.name for each in frames_at(binary, path, start)]
        assert [name] == [each.name for each in frames_at(binary, path, end - 1)]


def test_addresses_count_from_the_beginning_of_all_code(program: Path) -> None:
    """Which the table tells, or where the linker had to write it, the section."""
    functions = functions_of(program)
    bare = stripped(program)
    text = elf(bare).section(".text")
    assert text is not None
    told = table_of(functions, text_start=text.address)
    untold = told[:24] + bytes(8) + told[32:]
    for table in (told, untold):
        found = go_functions(elf(with_table(bare, table)))
        assert found is not None
        assert [start for _, start, _ in functions] == found.starts.tolist()


def test_a_program_with_symbols_needs_none(program: Path) -> None:
    path = with_table(program, table_of(functions_of(program)))
    file = elf(path)
    assert any(each.type == SHT_SYMTAB for each in file.sections)
    found = read_functions(file)
    assert not {found.name(number) for number in range(len(found))} & set(NAMES)


def test_tables_of_other_versions_are_passed_over(program: Path) -> None:
    bare = stripped(program)
    for magic in (0xFFFFFFFA, 0xFFFFFFFB, 0):
        assert go_functions(elf(with_table(bare, table_of(functions_of(program), magic=magic)))) is None
    assert go_functions(elf(bare)) is None


def test_whatever_stands_in_a_table_raises_nothing(program: Path) -> None:
    """Cut anywhere, or with bytes changed."""
    table = table_of(functions_of(program))
    path = with_table(stripped(program), table)
    content = path.read_bytes()
    at = content.index(table)
    chance = random.Random(7)
    for _ in range(2000):
        changed = bytearray(content)
        for _ in range(chance.randrange(1, 8)):
            changed[at + chance.randrange(len(table))] = chance.choice(
                (0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256))
            )
        found = read_functions(ElfFile.of_bytes(bytes(changed)))
        for place in found.places(np.array([0, 0x1000, 0x1100, 2**64 - 1], np.uint64)).tolist():
            assert place < 0 or isinstance(found.name(place), str)
    for size_bytes in range(0, len(table), 30):
        read_functions(elf(with_table(stripped(program), table[:size_bytes])))
