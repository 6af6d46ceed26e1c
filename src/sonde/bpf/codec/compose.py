"""From a BTF type to its codec."""

from __future__ import annotations

import sys

from sonde.bpf.btf import (
    Array,
    BtfType,
    Enum,
    Field,
    Float,
    Int,
    Pointer,
    Struct,
    Typedef,
    Union,
    Var,
    Void,
    fields_of,
    resolve,
)
from sonde.bpf.btf.type import CHAIN_MAX, DAMAGED, Alias
from sonde.bpf.codec.array import ArrayCodec, ByteArrayCodec
from sonde.bpf.codec.codec import Codec
from sonde.bpf.codec.enum import EnumCodec
from sonde.bpf.codec.float import CODES as FLOAT_CODES
from sonde.bpf.codec.float import FloatCodec
from sonde.bpf.codec.integer import CODES, BitsCodec, BoolCodec, IntCodec, WideCodec
from sonde.bpf.codec.struct import StructCodec, UnionCodec
from sonde.bpf.codec.text import BytesCodec, TextCodec
from sonde.errors import LayoutError

WEIGHT_MAX = 1 << 24  # Python values that one value may take; arrays beyond this are NumPy's


def codec_of(declared: BtfType | None, size: int | None = None) -> Codec:
    """Make the codec for a type; None, or ``void``, is bytes of the given ``size`` (a map without BTF).

    ``size`` is what the kernel says; LayoutError where the type has another one, or no values at all.
    """
    if declared is None or isinstance(declared, Void):
        if size is None:
            raise LayoutError(
                "make a codec", why="there is neither a type nor a size", hint="compile with -g"
            )
        return BytesCodec(size)
    codec = Composer().compose(declared)
    if size is not None and codec.size != size:
        raise LayoutError(f"read {codec.label}", why=f"BTF says {codec.size} bytes, the kernel {size}")
    return codec


class Composer:
    """Makes the codecs of a type and of all that it consists of, each once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._done: dict[tuple[int, str], Codec] = {}
        self._open: set[int] = set()

    def compose(self, declared: BtfType) -> Codec:
        """Make the codec for a type."""
        found, name = resolve(declared), _name(declared)
        key = (found.id, name)
        if key in self._done:
            return self._done[key]
        if found.id in self._open or len(self._open) > CHAIN_MAX:
            raise LayoutError(f"read {found}", why="it contains itself", hint=DAMAGED)
        self._open.add(found.id)
        codec = self._done[key] = self._make(found, name)
        self._open.remove(found.id)
        if codec.weight > WEIGHT_MAX:
            raise LayoutError(
                f"read {codec.label}",
                why=f"it has {codec.weight} values",
                hint="read it with NumPy: dtype_of",
            )
        return codec

    def _make(self, found: BtfType, name: str) -> Codec:
        match found:
            case Int():
                return _int(found)
            case Pointer():
                return IntCodec(found.size, signed=False, label="pointer")
            case Enum() if found.size in CODES:
                return EnumCodec(_label("enum", name), found.size, found.values, signed=found.signed)
            case Array():
                return self._array(found)
            case Struct():
                fields = [(field, self._field(field)) for field in fields_of(found)]
                return StructCodec(_label("struct", name), name or "record", found.size, fields)
            case Union():
                return self._union(found, name)
            case Float() if found.size in FLOAT_CODES:
                return FloatCodec(found.size)
            case Float():
                return BytesCodec(found.size, label=f"f{8 * found.size}")
        raise LayoutError(f"read {found}", why=f"a {found.kind} has no value", hint="use a complete type")

    def _field(self, field: Field) -> Codec:
        whole = resolve(field.type)
        # What a bit-field means is the type's business, where its bits are the struct's.
        return _number(whole) if field.bit_size and isinstance(whole, Int) else self.compose(field.type)

    def _array(self, found: Array) -> Codec:
        size, element = found.size, resolve(found.element)
        if isinstance(element, Int) and element.size == 1 and element.is_whole and not element.is_bool:
            if element.is_char:
                return TextCodec(size)
            if not element.signed:
                return ByteArrayCodec(size)
        return ArrayCodec(self.compose(found.element), found.count)

    def _union(self, found: Union, name: str) -> Codec:
        members = {
            member.name: codec
            for member in found.members
            if member.name and not member.bit_size and member.bit_offset == 0
            if (codec := self.compose(member.type)).size <= found.size
        }
        return UnionCodec(_label("union", name), found.size, members)


def _number(found: Int) -> Codec:
    if found.is_bool and found.size == 1:
        return BoolCodec()
    return (IntCodec if found.size in CODES else WideCodec)(found.size, signed=found.signed)


def _int(found: Int) -> Codec:
    inner = _number(found)
    if found.is_whole and found.size in CODES:
        return inner
    shift = found.offset if sys.byteorder == "little" else 8 * found.size - found.offset - found.bits
    return BitsCodec(inner, found.size, bits=found.bits, shift=shift)


def _name(declared: BtfType) -> str:
    """Name a type: its own name, or that of the typedef which stands for an anonymous struct."""
    step, name = declared, ""
    for _ in range(CHAIN_MAX):
        if not isinstance(step, Alias):
            return step.name or name
        if isinstance(step, Typedef):
            name = step.name
        elif isinstance(step, Var):
            name = ""
        step = step.target
    return name


def _label(kind: str, name: str) -> str:
    return f"{kind} {name}" if name else kind
