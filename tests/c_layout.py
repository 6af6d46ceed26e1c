"""C structs, made at random and compiled, as an oracle of layouts: what the compiler says, and what it wrote down."""

from __future__ import annotations

import random
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sonde.bpf.btf import Btf

PREAMBLE = """
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
typedef signed char s8; typedef short s16; typedef int s32; typedef long long s64;
enum level { LEVEL_LOW, LEVEL_HIGH = 7 };
struct point { s16 x; u8 flags; s32 y; };
union either { u32 number; u8 octets[6]; };
"""
NUMBERS = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "s8": -8, "s16": -16, "s32": -32, "s64": -64}


@dataclass
class Member:
    """A member: its declaration, its name, a value for Python, and the C statement that stores that value."""

    declaration: str
    name: str
    value: object
    statement: str
    is_bits: bool = False


@dataclass
class Sample:
    """A struct in C and what is in it."""

    name: str
    members: list[Member]
    attribute: str

    @property
    def source(self) -> str:
        """Give its definition and a variable of it, without which compilers leave it out."""
        body = " ".join(f"{each.declaration};" for each in self.members)
        return f"struct {self.name} {{ {body} }} {self.attribute};\nstruct {self.name} the_{self.name};\n"


def random_sample(seed: int) -> Sample:
    """Make a struct of one to ten members."""
    chance = random.Random(seed)
    members = [_member(chance, f"m{at}") for at in range(chance.randint(1, 10))]
    attribute = chance.choice(["", "", "", "__attribute__((packed))", "__attribute__((aligned(16)))"])
    return Sample(f"sample_{seed}", members, attribute)


def _number(chance: random.Random, bits: int) -> int:
    low, high = (-(1 << -bits - 1), (1 << -bits - 1) - 1) if bits < 0 else (0, (1 << bits) - 1)
    return chance.choice([low, high, chance.randint(low, high)])


def _literal(number: int) -> str:
    return f"(s64){number + (1 << 64) if number < 0 else number}ULL"


def _member(chance: random.Random, name: str) -> Member:
    kind = chance.choice(["number", "number", "bits", "bits", "bits", "bool", "enum", "text", "bytes", "many",
                          "point", "points", "pointer", "float", "inner", "union"])  # fmt: skip
    c_type, bits = chance.choice(list(NUMBERS.items()))
    number = _number(chance, bits)
    count = chance.randint(1, 5)
    match kind:
        case "number":
            return Member(f"{c_type} {name}", name, number, f"x.{name} = {_literal(number)};")
        case "bits":
            width = chance.randint(1, abs(bits))
            number = _number(chance, -width if bits < 0 else width)
            return Member(f"{c_type} {name} : {width}", name, number, f"x.{name} = {_literal(number)};", True)
        case "bool":
            return Member(f"_Bool {name}", name, True, f"x.{name} = 1;")
        case "enum":
            return Member(f"enum level {name}", name, 7, f"x.{name} = LEVEL_HIGH;")
        case "text":
            return Member(f"char {name}[{count + 2}]", name, "ab", f"x.{name}[0] = 'a'; x.{name}[1] = 'b';")
        case "bytes":
            values = bytes(range(200, 200 + count))
            stores = "".join(f"x.{name}[{at}] = {value};" for at, value in enumerate(values))
            return Member(f"u8 {name}[{count}]", name, values, stores)
        case "many":
            numbers = tuple(_number(chance, -32) for _ in range(count))
            stores = "".join(f"x.{name}[{at}] = {_literal(value)};" for at, value in enumerate(numbers))
            return Member(f"s32 {name}[{count}]", name, numbers, stores)
    return _compound(name, kind)


def _compound(name: str, kind: str) -> Member:
    match kind:
        case "point":
            return Member(
                f"struct point {name}", name, (-3, 9, -7), f"x.{name} = (struct point){{-3, 9, -7}};"
            )
        case "points":
            stores = f"x.{name}[1] = (struct point){{1, 2, 3}};"
            return Member(f"struct point {name}[2]", name, ((0, 0, 0), (1, 2, 3)), stores)
        case "pointer":
            return Member(
                f"void *{name}", name, 0xFFFF888012345678, f"x.{name} = (void *)0xffff888012345678;"
            )
        case "float":
            return Member(f"double {name}", name, -1.5, f"x.{name} = -1.5;")
        case "inner":
            return Member(f"struct {{ u8 pad_{name}; u32 {name}; }}", name, 5, f"x.{name} = 5;")
    return Member(f"union either {name}", name, b"\x05\0\0\0\x09\0\0\0",
                  f"x.{name}.octets[4] = 9; x.{name}.number = 5;")  # fmt: skip


def native_layouts(samples: list[Sample], folder: Path, compiler: list[str]) -> dict[str, dict[str, str]]:
    """Compile and run a program that tells each struct's size, the offsets in it, and its bytes when filled."""
    lines = []
    for sample in samples:
        tell = [f'printf("{sample.name} size %zu\\n", sizeof(struct {sample.name}));']
        tell += [
            f'printf("{sample.name} {each.name} %zu\\n", offsetof(struct {sample.name}, {each.name}));'
            for each in sample.members
            if not each.is_bits
        ]
        fill = " ".join(each.statement for each in sample.members)
        tell.append(f"{{ struct {sample.name} x; memset(&x, 0, sizeof x); {fill} show(&x, sizeof x); }}")
        tell.insert(-1, f'printf("{sample.name} bytes ");')
        lines += tell
    show = 'static void show(void *p, size_t n) { for (u8 *b = p; n--; b++) printf("%02x", *b); puts("."); }'
    program = (
        "#include <stdio.h>\n#include <stddef.h>\n#include <string.h>\n"
        + PREAMBLE + "".join(each.source for each in samples) + show
        + "\nint main(void) {\n" + "\n".join(lines) + "\nreturn 0; }\n"
    )  # fmt: skip
    (folder / "native.c").write_text(program)
    command = [*compiler, "-w", "-o", str(folder / "native"), str(folder / "native.c")]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    told: dict[str, dict[str, str]] = {each.name: {} for each in samples}
    for line in subprocess.run(
        [folder / "native"], check=True, capture_output=True, text=True
    ).stdout.splitlines():
        name, what, value = line.split()
        told[name][what] = value.rstrip(".")
    return told


def compiled_btf(source: str, folder: Path, command: list[str]) -> Btf:
    """Compile C with debugging information and read the section ``.BTF`` of the ELF file."""
    (folder / "types.c").write_text(source)
    output = folder / "types.o"
    arguments = [*command, "-w", "-c", "-o", str(output), str(folder / "types.c")]
    subprocess.run(arguments, check=True, stdin=subprocess.DEVNULL)
    return Btf(elf_section(output.read_bytes(), ".BTF"))


def elf_section(elf: bytes, wanted: str) -> bytes:
    """Give the bytes of one section of a 64-bit little-endian ELF file."""
    (table,) = struct.unpack_from("<Q", elf, 40)
    entry, count, names = struct.unpack_from("<HHH", elf, 58)
    headers = [struct.unpack_from("<IIQQQQ", elf, table + at * entry) for at in range(count)]
    for name, _, _, _, offset, size in headers:
        start = headers[names][4] + name
        if elf[start : elf.index(b"\0", start)].decode() == wanted:
            return elf[offset : offset + size]
    raise LookupError(f"no section {wanted}")
