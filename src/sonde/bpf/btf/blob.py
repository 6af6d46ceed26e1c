"""How BTF lies in bytes: a header, the types one behind the other, the strings.

Documentation/bpf/btf.rst in the kernel describes it.
"""

from __future__ import annotations

import sys
from array import array
from struct import Struct as Packed

from sonde.bpf.btf.type import DAMAGED
from sonde.errors import LayoutError

MAGIC = 0xEB9F
VERSION = 1

TYPE = Packed("=III")  # name_off, info, size or type; every type begins with it
_HEADER = Packed("=HBBIIIII")  # magic, version, flags, hdr_len, type_off, type_len, str_off, str_len
_LAYOUT_HEADER = Packed("=II")  # layout_off, layout_len; the header has them since Linux 7.1

# What follows the three words of a type: so many bytes, and so many for each of its elements. BTF written since
# Linux 7.1 can carry this table itself, so that older programs can skip the kinds that they do not know.
_LENGTHS = {
    1: (4, 0), 2: (0, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 7: (0, 0), 8: (0, 0), 9: (0, 0),
    10: (0, 0), 11: (0, 0), 12: (0, 0), 13: (0, 8), 14: (4, 0), 15: (0, 12), 16: (0, 0), 17: (4, 0),
    18: (0, 0), 19: (0, 12),
}  # fmt: skip


def _malformed(why: str) -> LayoutError:
    return LayoutError("read BTF", why=why, hint=DAMAGED)


def sections(data: bytes, *, has_base: bool) -> tuple[range, bytes, dict[int, tuple[int, int]]]:
    """Find the type section, the strings, and how long each kind is."""
    if len(data) < _HEADER.size:
        raise _malformed(f"{len(data)} bytes are less than a header")
    magic, version, _, header, type_off, type_len, str_off, str_len = _HEADER.unpack_from(data)
    if magic == int.from_bytes(MAGIC.to_bytes(2, "little"), "big"):
        target = "-target bpfel" if sys.byteorder == "little" else "-target bpfeb"
        raise LayoutError(
            "read BTF", why=f"it is not {sys.byteorder}-endian as this machine", hint=f"compile with {target}"
        )
    if magic != MAGIC or version != VERSION:
        raise _malformed(f"it begins with {data[:3].hex(' ')}")
    if header < _HEADER.size:
        raise _malformed(f"its header says that it has {header} bytes")
    types = _section(data, header, type_off, type_len, "type")
    strings = _section(data, header, str_off, str_len, "string")
    text = data[strings.start : strings.stop]
    if type_off % 4:
        raise _malformed("its types are not aligned")
    if (not text and not has_base) or (text and (text[-1] or (text[0] and not has_base))):
        raise _malformed("its strings do not begin and end with NUL")
    return types, text, _lengths(data, header)


def _lengths(data: bytes, header: int) -> dict[int, tuple[int, int]]:
    if header < _HEADER.size + _LAYOUT_HEADER.size or len(data) < header:
        return _LENGTHS
    start, length = _LAYOUT_HEADER.unpack_from(data, _HEADER.size)
    layout = _section(data, header, start, length, "layout")
    entries = Packed("=BBH").iter_unpack(data[layout.start : layout.start + length // 4 * 4])
    given = {kind: (info, element) for kind, (info, element, _) in enumerate(entries) if kind}
    return given | _LENGTHS


def _section(data: bytes, header: int, offset: int, length: int, name: str) -> range:
    if header + offset + length > len(data):
        raise _malformed(f"its {name} section ends beyond its {len(data)} bytes")
    return range(header + offset, header + offset + length)


def index(data: bytes, types: range, lengths: dict[int, tuple[int, int]]) -> tuple[array[int], array[int]]:
    """Find where each type begins, and the offset of its name."""
    starts, names = array("I"), array("I")
    at, end = types.start, types.stop
    unpack, head = TYPE.unpack_from, TYPE.size
    while at + head <= end:
        name, info, _ = unpack(data, at)
        length = lengths.get(info >> 24 & 0x7F)
        if length is None:
            raise LayoutError(
                "read BTF",
                why=f"type {len(starts) + 1} is of kind {info >> 24 & 0x7F}, which is unknown",
                hint="take a newer sonde, or a compiler that writes BTF with kind layouts",
            )
        starts.append(at)
        names.append(name)
        at += head + length[0] + length[1] * (info & 0xFFFFFF)
    if at != end:
        raise _malformed("its last type is cut off")
    return starts, names
