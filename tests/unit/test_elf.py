"""The look at an ELF object before libbpf: what is refused, and in which words."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

import sonde
from sonde.bpf import elf
from sonde.errors import UnsafeObjectError

OBJECTS = sorted(Path(sonde.__file__).parent.rglob("*.bpf.o"))
SOUND = OBJECTS[0].read_bytes()


def field(offset: int, form: str, value: int) -> bytes:
    """The sound object with one number changed."""
    broken = bytearray(SOUND)
    struct.pack_into(form, broken, offset, value)
    return bytes(broken)


def header_of(name: str) -> int:
    """Where the header of a section is."""
    table = struct.unpack_from("<Q", SOUND, 40)[0]
    count, names = struct.unpack_from("<HH", SOUND, 60)
    strings = struct.unpack_from("<Q", SOUND, table + names * 64 + 24)[0]
    for index in range(count):
        at = table + index * 64
        start = strings + struct.unpack_from("<I", SOUND, at)[0]
        if SOUND[start : SOUND.index(b"\0", start)].decode() == name:
            return int(at)
    raise AssertionError(name)


def contents_of(name: str) -> int:
    """Where a section is."""
    return int(struct.unpack_from("<Q", SOUND, header_of(name) + 24)[0])


def program_section() -> str:
    """The name of a section with instructions and relocations."""
    table, count = struct.unpack_from("<Q", SOUND, 40)[0], struct.unpack_from("<H", SOUND, 60)[0]
    names = struct.unpack_from("<H", SOUND, 62)[0]
    strings = struct.unpack_from("<Q", SOUND, table + names * 64 + 24)[0]
    for index in range(count):
        name, kind = struct.unpack_from("<II", SOUND, table + index * 64)
        text = SOUND[strings + name : SOUND.index(b"\0", strings + name)].decode()
        if kind == 9 and not text.startswith((".rel.BTF", ".rel.debug", ".rel.maps", ".rel.eh")):
            return text.removeprefix(".rel")
    raise AssertionError("no program has relocations")


def refusal(data: bytes) -> str:
    with pytest.raises(UnsafeObjectError) as caught:
        elf.check(data, path="it.bpf.o")
    assert caught.value.cause == "format"
    assert str(caught.value).startswith("load it.bpf.o: ")
    return caught.value.why


@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: path.parent.name)
def test_sound_objects_pass(path: Path) -> None:
    elf.check(path.read_bytes(), path=str(path))


@pytest.mark.parametrize(
    ("offset", "form", "value", "why"),
    [
        (0, "<B", 0, "it is no ELF file"),
        (4, "<B", 1, "it is no 64-bit ELF file"),
        (5, "<B", 2, "it was built for the other byte order"),
        (16, "<H", 2, "it is no BPF object but a program or library"),
        (18, "<H", 62, "it is no BPF object but a program or library"),
        (40, "<Q", 1 << 40, "its section headers lie beyond the file: it is cut off"),
        (40, "<Q", (1 << 64) - 8, "its section headers lie beyond the file: it is cut off"),
        (58, "<H", 40, "its headers have an impossible size"),
        (60, "<H", 0, "its headers have an impossible size"),
        (60, "<H", 0xFFFF, "its section headers lie beyond the file: it is cut off"),
        (62, "<H", 0, "its section of section names does not exist"),
        (62, "<H", 0xFFFF, "its section of section names does not exist"),
    ],
)
def test_broken_header(offset: int, form: str, value: int, why: str) -> None:
    """Every field of the ELF header that counts."""
    assert refusal(field(offset, form, value)) == why


def test_section_beyond_the_file() -> None:
    assert refusal(field(header_of(".BTF") + 32, "<Q", 1 << 33)) == "section .BTF ends beyond the file"
    assert refusal(field(header_of(".BTF") + 24, "<Q", 1 << 62)) == "section .BTF ends beyond the file"


def test_section_name_that_is_no_text() -> None:
    at = struct.unpack_from("<I", SOUND, header_of(".BTF"))[0]
    names = contents_of(".strtab")
    broken = bytearray(SOUND)
    broken[names + at] = 0xFF
    assert refusal(bytes(broken)).endswith("is not text")
    assert refusal(field(header_of(".BTF"), "<I", 0x7FFFFFFF)).endswith("lies beyond the names")


def test_program_that_ends_within_an_instruction() -> None:
    name = program_section()
    at = header_of(name) + 32
    size = struct.unpack_from("<Q", SOUND, at)[0]
    assert refusal(field(at, "<Q", size - 4)) == f"section {name} ends within an instruction"


def test_symbol_beyond_its_section() -> None:
    at = contents_of(".symtab")
    size = struct.unpack_from("<Q", SOUND, header_of(".symtab") + 32)[0]
    for symbol in range(at, at + size, 24):
        _, info, _, index, _, _ = struct.unpack_from("<IBBHQQ", SOUND, symbol)
        if info & 0xF == 2 and 0 < index < 0xFF00:
            assert "ends beyond its section" in refusal(field(symbol + 16, "<Q", 1 << 20))
            assert "does not begin and end with an instruction" in refusal(field(symbol + 16, "<Q", 4))
            assert "refers to a section that does not exist" in refusal(field(symbol + 6, "<H", 0xFEFF))
            return
    raise AssertionError("no function")


def test_relocation_to_nowhere() -> None:
    name = f".rel{program_section()}"
    at = contents_of(name)
    why = f"section {name} refers to a place or symbol that does not exist"
    assert refusal(field(at, "<Q", 1 << 30)) == why
    assert refusal(field(at, "<Q", 4)) == why
    assert refusal(field(at + 12, "<I", 1 << 24)) == why
    assert refusal(field(header_of(name) + 40, "<I", 1)) == f"section {name} does not refer to symbols"
    assert "does not exist" in refusal(field(header_of(name) + 44, "<I", 9999))


def test_checking_is_quick() -> None:
    """It is on the way from start to attached, of which the whole may take a quarter of a second."""
    code = (
        "import sys, time; from sonde.bpf import elf; from sonde.bpf.btf import soundness\n"
        "data, times = open(sys.argv[1], 'rb').read(), []\n"
        "for _ in range(5):\n"
        "    start = time.process_time(); elf.check(data, path=''); times.append(time.process_time() - start)\n"
        # What the host of a virtual machine takes from it counts as the process's.
        "print(min(times))"
    )
    largest = max(OBJECTS, key=lambda path: path.stat().st_size)
    seconds = float(
        subprocess.run([sys.executable, "-c", code, largest], check=True, capture_output=True).stdout
    )
    assert seconds < 0.05
