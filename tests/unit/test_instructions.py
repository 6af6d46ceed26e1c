"""What we build holds only instructions that Linux 5.10 knows: the oldest kernel that sonde is for."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from kernel.compiled import compile_all
from sonde_build.compilers import run, zig_command
from sonde_build.extension import PACKAGE

SECTION = struct.Struct("=IIQQQQIIQQ")
INSTRUCTION = struct.Struct("=BBhi")
SHT_PROGBITS, SHF_EXECINSTR = 1, 4

# include/uapi/linux/bpf.h, bpf_common.h: an opcode is a class (3 bits), and for arithmetic and jumps an operation, else a mode.
LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)
IMM, ABS, IND, MEM, ATOMIC = 0x00, 0x20, 0x40, 0x60, 0xC0
DIV, MOD, MOV, END = 0x30, 0x90, 0xB0, 0xD0
JA, CALL, EXIT, JSLE = 0x00, 0x80, 0x90, 0xD0
WORD, DOUBLE_WORD = 0x00, 0x18
FROM_REGISTER = 0x08

FETCHES = """
typedef unsigned long long u64;
u64 calls;
__attribute__((section("socket"))) int count(void *context)
{
	return (int)__sync_fetch_and_add(&calls, 1);
}
"""


def objects() -> list[Path]:
    """What is packaged, and what the tests load."""
    return [*PACKAGE.rglob("*.bpf.o"), *(path for path in compile_all() if path.name.endswith(".bpf.o"))]


def is_known(code: int, offset: int, immediate: int) -> bool:
    """Whether Linux 5.10 knows an instruction; which functions it may call is another question."""
    kind, operation, mode = code & 7, code & 0xF0, code & 0xE0
    if kind in (ALU, ALU64):
        # Later: division of signed numbers, moves that extend them (both by the offset), swaps in 64-bit arithmetic (6.6).
        return operation <= END and not offset and not (kind == ALU64 and operation == END)
    if kind == JMP:
        return operation <= JSLE and not (operation == CALL and code & FROM_REGISTER)
    if kind == JMP32:
        return operation <= JSLE and operation not in (JA, CALL, EXIT)
    if kind == STX and mode == ATOMIC:
        # Addition alone; 5.12 has added the others, and those that fetch (5ca419f2864a, 5ffa25502b5a).
        return code & 0x18 in (WORD, DOUBLE_WORD) and not immediate
    return mode in {LD: (IMM, ABS, IND), LDX: (MEM,), ST: (MEM,), STX: (MEM,)}[kind]


def code_of(path: Path) -> Iterator[bytes]:
    """Give the sections of an object that hold instructions."""
    content = path.read_bytes()
    (at,) = struct.unpack_from("=Q", content, 0x28)
    entry_bytes, count = struct.unpack_from("=HH", content, 0x3A)
    assert entry_bytes == SECTION.size
    for _, kind, flags, _, offset, size, *_ in SECTION.iter_unpack(content[at : at + count * entry_bytes]):
        if kind == SHT_PROGBITS and flags & SHF_EXECINSTR:
            yield content[offset : offset + size]


def unknown_in(path: Path) -> Iterator[str]:
    """Name the instructions of an object that Linux 5.10 does not know."""
    for code in code_of(path):
        instructions = INSTRUCTION.iter_unpack(code)
        for opcode, _, offset, immediate in instructions:
            if not is_known(opcode, offset, immediate):
                yield f"{path.name}: {opcode:#04x}, offset {offset}, immediate {immediate:#x}"
            if opcode == LD | IMM | DOUBLE_WORD:
                # It takes two places.
                next(instructions)


def test_all_objects_are_of_instructions_that_the_oldest_kernel_knows() -> None:
    assert [each for path in objects() for each in unknown_in(path)] == []


def test_an_addition_that_fetches_is_found(tmp_path: Path) -> None:
    """As clang makes one of __sync_fetch_and_add for version 3, which is the default since clang 20."""
    source, output = tmp_path / "fetches.bpf.c", tmp_path / "fetches.bpf.o"
    source.write_text(FETCHES)
    run(
        [
            *zig_command(),
            *("cc", "-target", "bpfel-freestanding", "-mcpu=v3", "-O2"),
            *("-c", str(source), "-o", str(output)),
        ]
    )
    assert [*unknown_in(output)] == ["fetches.bpf.o: 0xdb, offset 0, immediate 0x1"]
