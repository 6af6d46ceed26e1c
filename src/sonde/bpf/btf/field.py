"""What C code can name in a struct: its members, those of anonymous structs dissolved, bit-fields measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from sonde.bpf.btf.type import CHAIN_MAX, DAMAGED, BtfType, Enum, Int, Member, Struct, Union, resolve
from sonde.errors import LayoutError

FIELDS_MAX = 1 << 16  # of one struct; damaged BTF can describe more than there are atoms


@dataclass(frozen=True, slots=True)
class Field:
    """One member as C code names it: anonymous structs are dissolved, bit-fields have their size.

    ``bit_offset`` counts from the start of the outermost struct; ``bit_size`` is 0 unless it is a bit-field.
    """

    name: str
    type: BtfType
    bit_offset: int
    bit_size: int = 0

    @property
    def offset(self) -> int:
        """Offset in bytes of the first byte that holds any of it."""
        return self.bit_offset // 8

    @property
    def size(self) -> int:
        """Size in bytes; of a bit-field, the bytes that it touches."""
        if self.bit_size:
            return (self.bit_offset + self.bit_size + 7) // 8 - self.offset
        return self.type.size


def fields_of(struct: Struct) -> tuple[Field, ...]:
    """Give what C code can name in a struct, in the order of declaration.

    The members of an anonymous struct count as its own, as in C. An anonymous union is one field that is named by
    its place, ``union_8``. Unnamed bit-fields are padding. LayoutError where the BTF contradicts itself.
    """
    fields = tuple(_fields(struct, 0, (struct.id,), iter(range(FIELDS_MAX))))
    twice = [name for name, count in Counter(each.name for each in fields).items() if count > 1]
    if twice:
        raise LayoutError(f"read {struct}", why=f"it has {', '.join(twice)} twice", hint=DAMAGED)
    for each in fields:
        if each.offset + each.size > struct.size:
            raise LayoutError(f"read {struct}.{each.name}", why="it lies outside the struct", hint=DAMAGED)
    return fields


def _fields(struct: Struct, base: int, within: tuple[int, ...], budget: Iterator[int]) -> Iterator[Field]:
    for member in struct.members:
        if next(budget, None) is None:
            raise LayoutError(f"read {struct}", why=f"it has more than {FIELDS_MAX} members", hint=DAMAGED)
        offset = base + member.bit_offset
        inner = resolve(member.type)
        if member.name:
            yield _field(member, inner, offset)
        elif isinstance(inner, Union):
            yield Field(f"union_{offset // 8}", inner, offset)
        elif isinstance(inner, Struct):
            if inner.id in within or len(within) > CHAIN_MAX:
                raise LayoutError(f"read {struct}", why="it contains itself", hint=DAMAGED)
            yield from _fields(inner, offset, (*within, inner.id), budget)


def _field(member: Member, inner: BtfType, offset: int) -> Field:
    bits = member.bit_size
    if not bits and isinstance(inner, Int) and not inner.is_whole:
        bits, offset = inner.bits, offset + inner.offset
    if bits:
        width = 8 * inner.size if isinstance(inner, (Int, Enum)) else 0
        if bits > width:
            raise LayoutError(f"read bit-field {member.name}", why=f"{bits} bits of {inner}", hint=DAMAGED)
    elif offset % 8:
        raise LayoutError(f"read member {member.name}", why="it begins within a byte", hint=DAMAGED)
    return Field(member.name, member.type, offset, bits)
