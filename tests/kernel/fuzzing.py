"""Broken ELF objects, made from sound ones, and the worker that opens and loads them: ``python -m kernel.fuzzing``.

The worker prints a line before and after every case, so that whoever runs it knows which one crashed it.
"""

from __future__ import annotations

import random
import resource
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

INTERESTING_32 = (0, 1, 2, 7, 0x7F, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)
INTERESTING_64 = (
    *INTERESTING_32,
    1 << 32,
    1 << 40,
    0x7FFFFFFFFFFFFFFF,
    0xFFFFFFFFFFFFFFF8,
    0xFFFFFFFFFFFFFFFF,
)
ELF_HEADER_BYTES, SECTION_HEADER_BYTES = 64, 64

# A map of the broken object may ask for any size; the kernel would give it.
MAP_BYTES_MAX = 1 << 20
ADDRESS_SPACE_BYTES = 3 << 30


def sections(data: bytes) -> list[tuple[str, int, int]]:
    """Name, offset and size of every section of a sound object."""
    table, count, names = (
        struct.unpack_from("<Q", data, 40)[0],
        *struct.unpack_from("<HH", data, 60),
    )
    headers = [struct.unpack_from("<IIQQQQ", data, table + i * SECTION_HEADER_BYTES) for i in range(count)]
    strings = headers[names][4]
    found = []
    for name, kind, _, _, offset, size in headers:
        end = data.index(b"\0", strings + name)
        found.append((data[strings + name : end].decode(), offset, 0 if kind == 8 else size))
    return found


def truncated(data: bytes, generator: random.Random) -> bytes:
    """Cut the end off."""
    return data[: generator.randrange(len(data))]


def flipped(data: bytes, generator: random.Random) -> bytes:
    """Flip one to sixteen bits anywhere."""
    broken = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 4, 16))):
        broken[generator.randrange(len(broken))] ^= 1 << generator.randrange(8)
    return bytes(broken)


def header_broken(data: bytes, generator: random.Random) -> bytes:
    """Put an odd number into a field of the ELF header or of a section header."""
    broken = bytearray(data)
    table, count = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<H", data, 60)[0]
    start, size = generator.choice(
        [(0, ELF_HEADER_BYTES)]
        + [(table + i * SECTION_HEADER_BYTES, SECTION_HEADER_BYTES) for i in range(count)]
    )
    for _ in range(generator.choice((1, 1, 2))):
        _poke(broken, start, size, generator)
    return bytes(broken)


def contents_broken(data: bytes, generator: random.Random) -> bytes:
    """Put odd numbers into one section: instructions, symbols, relocations, types, lines, strings."""
    broken = bytearray(data)
    filled = [(offset, size) for _, offset, size in sections(data) if size >= 4]
    start, size = generator.choice(filled)
    for _ in range(generator.choice((1, 1, 2, 8))):
        _poke(broken, start, size, generator)
    return bytes(broken)


def types_broken(data: bytes, generator: random.Random) -> bytes:
    """Put odd numbers into the types or their use: what libbpf and we read most of."""
    broken = bytearray(data)
    filled = [
        (offset, size)
        for name, offset, size in sections(data)
        if name in (".BTF", ".BTF.ext", ".maps", ".symtab", ".strtab") or name.startswith(".rel")
        if size >= 4
    ]
    start, size = generator.choice(filled)
    for _ in range(generator.choice((1, 1, 2, 4))):
        _poke(broken, start, size, generator)
    return bytes(broken)


def enlarged(data: bytes, generator: random.Random) -> bytes:
    """Append, insert or repeat bytes."""
    at = generator.randrange(len(data))
    some = data[at : at + generator.choice((1, 7, 64, 4096))]
    where = generator.choice((at, len(data)))
    return data[:where] + some * generator.choice((1, 3, 50)) + data[where:]


MUTATIONS = (truncated, flipped, header_broken, contents_broken, types_broken, types_broken, enlarged)


def _poke(broken: bytearray, start: int, size: int, generator: random.Random) -> None:
    if generator.random() < 0.3 or size < 8:
        at = min(start + generator.randrange(size), len(broken) - 1)
        broken[at] = generator.choice((0, 1, 0x7F, 0x80, 0xFF, generator.randrange(256)))
    elif generator.random() < 0.5:
        at = min(start + generator.randrange(size // 4) * 4, len(broken) - 4)
        old = struct.unpack_from("<I", broken, at)[0]
        value = generator.choice((*INTERESTING_32, old + 1, old - 1, old * 2, generator.randrange(1 << 32)))
        struct.pack_into("<I", broken, at, value & 0xFFFFFFFF)
    else:
        at = min(start + generator.randrange(size // 8) * 8, len(broken) - 8)
        old = struct.unpack_from("<Q", broken, at)[0]
        value = generator.choice((*INTERESTING_64, old + 1, old - 1, len(broken), len(broken) - 1))
        struct.pack_into("<Q", broken, at, value & 0xFFFFFFFFFFFFFFFF)


def case(data: bytes, number: int) -> bytes:
    """The broken object of a number: always the same."""
    generator = random.Random(number)
    return generator.choice(MUTATIONS)(data, generator)


def exercise(data: bytes) -> str:
    """Open a broken object, read all that it says of itself, and load it if that is harmless; what came of it.

    Raises whatever is no error of ours.
    """
    from sonde.bpf import ObjectSpec
    from sonde.errors import SondeError

    try:
        with ObjectSpec.open(data, name="broken") as spec:
            for program in spec.programs.values():
                _ = (
                    program.name,
                    program.section,
                    program.type,
                    program.instruction_count,
                    program.attach_target,
                )
            bytes_asked = 0
            for map_spec in spec.maps.values():
                _ = (map_spec.name, map_spec.type, map_spec.flags, map_spec.pin_path)
                bytes_asked += (map_spec.key_size + map_spec.value_size) * max(map_spec.max_entries, 1)
            knobs = {name: spec.knobs[name].value for name in spec.knobs}
            if bytes_asked > MAP_BYTES_MAX:
                return "too large to load"
            with spec.load() as loaded:
                return f"loaded, {len(knobs)} knobs, {len(loaded.variables)} variables"
    except SondeError as error:
        str(error).encode()
        return type(error).__name__


def cases(path: Path, first: int, count: int) -> Iterator[tuple[int, bytes]]:
    """The broken objects made from one file."""
    data = path.read_bytes()
    for number in range(first, first + count):
        yield number, case(data, number)


def main() -> None:
    """Work through cases: PATH FIRST COUNT."""
    path, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number, data in cases(path, first, count):
        print("case", number, flush=True)
        print("came", number, exercise(data), flush=True)


if __name__ == "__main__":
    main()
