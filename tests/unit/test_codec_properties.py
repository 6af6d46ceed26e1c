"""For any type that C can say: what is encoded is decoded again, and NumPy sees the same values."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from btf_writer import BtfWriter
from sonde.bpf.btf import Array, BtfType, Struct, fields_of, resolve
from sonde.bpf.codec import codec_of
from sonde.bpf.dtype import columns, dtype_of

KINDS = (
    "number",
    "number",
    "bool",
    "enum",
    "float",
    "pointer",
    "text",
    "octets",
    "array",
    "struct",
    "bits",
    "union",
)
PROFILE = settings(
    max_examples=300,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@dataclass
class Drawn:
    """A type, and how to draw values of it."""

    id: int
    size: int
    values: st.SearchStrategy[Any]


def numbers(size: int, *, signed: bool, bits: int = 0) -> st.SearchStrategy[int]:
    bits = bits or 8 * size
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else st.integers(0, (1 << bits) - 1)


def a_number(draw: st.DrawFn, writer: BtfWriter, depth: int) -> Drawn:
    size, signed = draw(st.sampled_from([1, 2, 4, 8, 16])), draw(st.booleans())
    return Drawn(writer.int(f"int{size}{signed}", size, signed=signed), size, numbers(size, signed=signed))


def a_bool(draw: st.DrawFn, writer: BtfWriter, depth: int) -> Drawn:
    return Drawn(writer.int("_Bool", 1, is_bool=True), 1, st.booleans())


def an_enum(draw: st.DrawFn, writer: BtfWriter, depth: int) -> Drawn:
    signed, wide = draw(st.booleans()), draw(st.booleans())
    size = 8 if wide else 4
    values = dict(
        draw(st.lists(st.tuples(st.sampled_from("ABCDEF"), numbers(size, signed=signed)), max_size=6))
    )
    id = (writer.enum64 if wide else writer.enum)("enum", values, signed=signed)
    return Drawn(id, size, st.one_of(numbers(size, signed=signed), *map(st.just, values.values())))


def a_float(draw: st.DrawFn, writer: BtfWriter, depth: int) -> Drawn:
    size = draw(st.sampled_from([4, 8]))
    return Drawn(writer.float("real", size), size, st.floats(width=8 * size, allow_nan=False))  # type: ignore[arg-type]


def a_pointer(draw: st.DrawFn, writer: BtfWriter, depth: int) -> Drawn:
    return Drawn(writer.pointer(0), 8, numbers(8, signed=False))


def a_text(draw: st.DrawFn, writer: BtfWriter, depth: int) -> Drawn:
    size = draw(st.integers(0, 20))
    texts = st.binary(max_size=size).filter(lambda raw: b"\0" not in raw)
    decoded = texts.map(lambda raw: raw.decode("utf-8", "surrogateescape"))
    return Drawn(writer.array(writer.int("char", 1, signed=draw(st.booleans())), size), size, decoded)


def octets(draw: st.DrawFn, writer: BtfWriter, depth: int) -> Drawn:
    size = draw(st.integers(0, 20))
    return Drawn(
        writer.array(writer.int("unsigned char", 1), size), size, st.binary(min_size=size, max_size=size)
    )


def an_array(draw: st.DrawFn, writer: BtfWriter, depth: int) -> Drawn:
    element = draw_type(draw, writer, depth - 1)
    count = draw(st.integers(0, 4))
    values = st.lists(element.values, min_size=count, max_size=count).map(tuple)
    id = writer.array(element.id, count)
    found = writer.btf().type(id)
    if isinstance(codec_of(found).decode(bytes(found.size)), bytes):
        values = values.map(bytes)
    return Drawn(id, count * element.size, values)


def a_union(draw: st.DrawFn, writer: BtfWriter, depth: int) -> Drawn:
    first, second = a_number(draw, writer, 0), octets(draw, writer, 0)
    size = max(first.size, second.size)
    id = writer.union("either", size, [("first", first.id, 0), ("second", second.id, 0)])
    return Drawn(id, size, st.binary(min_size=size, max_size=size))


def bits(draw: st.DrawFn, writer: BtfWriter, depth: int) -> Drawn:
    """A struct of bit-fields and of what lies between them."""
    members, values, at = [], [], 0
    for number in range(draw(st.integers(1, 6))):
        size, signed = draw(st.sampled_from([1, 2, 4, 8])), draw(st.booleans())
        id = writer.int(f"int{size}{signed}", size, signed=signed)
        if draw(st.booleans()):
            width = draw(st.integers(1, 8 * size))
            at += draw(st.sampled_from([0, 0, 1, 5, 13]))
            members.append((f"f{number}", id, at, width))
            values.append(numbers(size, signed=signed, bits=width))
            at += width
        else:
            at = (at + 7) // 8 * 8
            members.append((f"f{number}", id, at, 0))
            values.append(numbers(size, signed=signed))
            at += 8 * size
    size = (at + 7) // 8 + draw(st.integers(0, 3))
    order = draw(st.permutations(range(len(members))))
    id = writer.struct("bits", size, [members[each] for each in order])
    return Drawn(id, size, st.tuples(*[values[each] for each in order]))


def a_struct(draw: st.DrawFn, writer: BtfWriter, depth: int) -> Drawn:
    members, values, size = [], [], 0
    for number in range(draw(st.integers(0, 5))):
        inner = draw_type(draw, writer, depth - 1)
        size += draw(st.sampled_from([0, 0, 1, 3, 7]))
        members.append((f"f{number}", inner.id, 8 * size))
        values.append(inner.values)
        size += inner.size
    size += draw(st.sampled_from([0, 1, 4]))
    return Drawn(writer.struct("record", size, members), size, st.tuples(*values))


MAKERS: dict[str, Callable[[st.DrawFn, BtfWriter, int], Drawn]] = {
    "number": a_number, "bool": a_bool, "enum": an_enum, "float": a_float, "pointer": a_pointer, "text": a_text,
    "octets": octets, "array": an_array, "struct": a_struct, "bits": bits, "union": a_union,
}  # fmt: skip


def draw_type(draw: st.DrawFn, writer: BtfWriter, depth: int) -> Drawn:
    simple = [kind for kind in KINDS if depth > 0 or kind not in ("array", "struct", "bits")]
    drawn = MAKERS[draw(st.sampled_from(simple))](draw, writer, depth)
    wrap = draw(st.sampled_from([None, None, writer.const, writer.volatile]))
    return Drawn(wrap(drawn.id), drawn.size, drawn.values) if wrap else drawn


@st.composite
def typed_values(draw: st.DrawFn, kind: str = "") -> tuple[BtfType, Any]:
    """A type and a value of it."""
    writer = BtfWriter()
    drawn = MAKERS[kind](draw, writer, 3) if kind else draw_type(draw, writer, 3)
    return writer.btf().type(drawn.id), draw(drawn.values)


@st.composite
def typed_bytes(draw: st.DrawFn) -> tuple[BtfType, bytes]:
    """A type and as many bytes."""
    writer = BtfWriter()
    drawn = draw_type(draw, writer, 3)
    return writer.btf().type(drawn.id), draw(st.binary(min_size=drawn.size, max_size=drawn.size))


@PROFILE
@given(typed_values())
def test_what_is_encoded_is_decoded_again(case: tuple[BtfType, Any]) -> None:
    declared, value = case
    codec = codec_of(declared)
    data = codec.encode(value)
    assert len(data) == codec.size == declared.size
    assert codec.decode(data) == value
    hash(codec.decode(data))


@PROFILE
@given(typed_bytes())
def test_what_is_decoded_is_encoded_again(case: tuple[BtfType, bytes]) -> None:
    """Padding and the truth of bools are normalised once, and then nothing changes any more."""
    declared, data = case
    codec = codec_of(declared)
    normal = codec.encode(codec.decode(data))
    assert codec.encode(codec.decode(normal)) == normal
    if isinstance(codec.decode(data), (int, str, bytes)) and codec.label != "bool":
        assert normal == data


@PROFILE
@given(typed_values("struct") | typed_values("bits"))
def test_numpy_sees_the_same_values(case: tuple[BtfType, Any]) -> None:
    declared, value = case
    codec, struct = codec_of(declared), declared
    assert isinstance(struct, Struct)
    dtype = dtype_of(struct)
    assert dtype.itemsize == codec.size
    if not codec.size:
        return
    rows = np.frombuffer(codec.encode(value) * 2, dtype)
    expected = codec.decode(codec.encode(value))
    for name, seen in columns(struct, rows).items():
        field = next(each for each in fields_of(struct) if each.name == name)
        assert len(seen) == 2
        for one in seen:
            assert same(one, expected[name], field.type), f"{name}: NumPy {one!r}, codec {expected[name]!r}"


def same(seen: Any, expected: Any, declared: BtfType) -> bool:
    """Compare what NumPy and a codec make of the same bytes."""
    found = resolve(declared)
    if isinstance(found, Struct):
        taken = columns(found, np.asarray(seen))
        return all(same(taken[each.name][()], expected[each.name], each.type) for each in fields_of(found))
    if isinstance(expected, str):
        return bool(seen == expected.encode("utf-8", "surrogateescape").rstrip(b"\0"))
    if isinstance(expected, bytes):
        return np.asarray(seen).tobytes() == expected
    if isinstance(found, Array):
        if isinstance(seen, np.void):
            return seen.nbytes == 0 and found.size == 0
        return len(seen) == len(expected) and all(map(same, seen, expected, [found.element] * len(expected)))
    if isinstance(seen, np.void):
        return int.from_bytes(seen.tobytes(), sys.byteorder, signed=expected < 0) == expected
    return bool(seen == expected)
