"""NumPy types lie exactly as the C types do, and columns come out of them whatever C packed them into."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from btf_writer import BtfWriter
from sonde.bpf.btf import BtfType, Struct
from sonde.bpf.codec import codec_of
from sonde.bpf.dtype import column, columns, dtype_of
from sonde.errors import LayoutError


@pytest.fixture
def writer() -> BtfWriter:
    return BtfWriter()


def made(writer: BtfWriter, id: int) -> BtfType:
    return writer.btf().type(id)


def test_numbers_keep_size_and_sign(writer: BtfWriter) -> None:
    ids = [
        writer.int("u8", 1), writer.int("s16", 2, signed=True), writer.int("u64", 8), writer.pointer(0),
        writer.int("_Bool", 1, is_bool=True), writer.int("char", 1, signed=True),
        writer.enum("e", {"A": -1}, signed=True), writer.enum("f", {"A": 1}), writer.enum64("g", {"A": 1}),
        writer.float("float", 4), writer.float("long double", 16), writer.int("u128", 16),
    ]  # fmt: skip
    btf = writer.btf()
    assert [dtype_of(btf.type(id)).str[1:] for id in ids] == [
        "u1", "i2", "u8", "u8", "b1", "i1", "i4", "u4", "u8", "f4", "V16", "V16",
    ]  # fmt: skip


def test_arrays_are_subarrays_and_text_is_text(writer: BtfWriter) -> None:
    byte, letter = writer.int("unsigned char", 1), writer.int("char", 1)
    name = writer.array(letter, 16)
    ids = [writer.array(byte, 6), writer.array(writer.array(byte, 3), 2), name, writer.array(name, 4)]
    btf = writer.btf()
    dtypes = [dtype_of(btf.type(id)) for id in ids]
    assert [(each.base.str[1:], each.shape) for each in dtypes] == [
        ("u1", (6,)), ("u1", (2, 3)), ("S16", ()), ("S16", (4,)),
    ]  # fmt: skip


def test_structs_have_offsets_nested_structs_and_bytes_for_unions(writer: BtfWriter) -> None:
    number, wide = writer.int("u32", 4), writer.int("u64", 8)
    point = writer.struct("point", 8, [("x", number, 0), ("y", number, 32)])
    either = writer.union("either", 8, [("number", number, 0), ("wide", wide, 0)])
    hidden = writer.struct("", 4, [("inner", number, 0)])
    members = [
        ("a", number, 0), ("p", point, 64), ("e", either, 128), ("", hidden, 192), ("tail", writer.array(wide, 0), 256),
    ]  # fmt: skip
    dtype = dtype_of(made(writer, writer.struct("s", 40, members)))
    assert dtype.itemsize == 40
    assert dtype.fields is not None
    assert {name: (each[0].str, each[1]) for name, each in dtype.fields.items()} == {
        "a": (np.dtype("u4").str, 0), "p": ("|V8", 8), "e": ("|V8", 16), "inner": (np.dtype("u4").str, 24),
        "tail": ("|V0", 32),
    }  # fmt: skip
    assert dtype["p"].names == ("x", "y")
    assert dtype["e"].names is None
    assert dtype["tail"].shape == (0,)


def test_bit_fields_share_storage_and_columns_take_them_apart(writer: BtfWriter) -> None:
    """struct { u32 id; u32 a:5; s32 b:4; bool c:1; enum d:2; u8 e; u64 f:40 } as a compiler packs it."""
    number, signed = writer.int("u32", 4), writer.int("s32", 4, signed=True)
    flag, level = writer.int("_Bool", 1, is_bool=True), writer.enum("level", {"LOW": 0, "HIGH": 2})
    byte, wide = writer.int("u8", 1), writer.int("u64", 8)
    members = [
        ("id", number, 0, 0), ("a", number, 32, 5), ("b", signed, 37, 4), ("c", flag, 41, 1), ("d", level, 42, 2),
        ("e", byte, 48, 0), ("f", wide, 64, 40),
    ]  # fmt: skip
    struct = made(writer, writer.struct("s", 16, members))
    dtype = dtype_of(struct)
    assert dtype.names == ("id", "bits_4", "e", "bits_8")
    assert [dtype[name].str[1:] for name in ("bits_4", "bits_8")] == ["u2", "V5"]

    values = [(1, 31, -8, True, 2, 255, (1 << 40) - 1), (2, 0, 7, False, 0, 0, 1 << 39)]
    codec = codec_of(struct)
    rows = np.frombuffer(b"".join(map(codec.encode, values)), dtype)
    taken = columns(struct, rows)
    assert list(taken) == ["id", "a", "b", "c", "d", "e", "f"]
    assert list(zip(*[each.tolist() for each in taken.values()], strict=True)) == values
    assert [each.dtype.str[1:] for each in taken.values()] == ["u4", "u4", "i4", "b1", "u4", "u1", "u8"]


def test_columns_of_slices_and_of_tables(writer: BtfWriter) -> None:
    """Rows need not be neighbours, nor in one dimension: a per-CPU map gives (entries, CPUs)."""
    number = writer.int("u32", 4)
    struct = made(writer, writer.struct("s", 4, [("a", number, 3, 7)]))
    rows = np.frombuffer(b"".join(codec_of(struct).encode((value,)) for value in range(12)), dtype_of(struct))
    assert column(struct, rows[::3], "a").tolist() == [0, 3, 6, 9]
    assert column(struct, rows.reshape(4, 3), "a").tolist() == np.arange(12).reshape(4, 3).tolist()
    assert column(struct, rows[:0], "a").shape == (0,)


def test_columns_of_nested_structs(writer: BtfWriter) -> None:
    byte, number = writer.int("u8", 1), writer.int("u16", 2)
    inner = writer.struct("inner", 2, [("low", number, 0, 4), ("high", number, 4, 12)])
    outer = writer.struct("outer", 5, [("first", byte, 0), ("inner", inner, 8)])
    btf = writer.btf()
    rows = np.frombuffer(b"\0\x21\x43\0\0" * 2, dtype_of(btf.type(outer)))
    assert column(btf.type(inner), rows["inner"], "high").tolist() == [0x432, 0x432]


def test_a_column_that_is_not_there(writer: BtfWriter) -> None:
    number = writer.int("u32", 4)
    struct = made(writer, writer.struct("s", 4, [("a", number, 0)]))
    assert isinstance(struct, Struct)
    rows = np.zeros(1, dtype_of(struct))
    with pytest.raises(LayoutError, match="take column b of struct s: it has a"):
        column(struct, rows, "b")
    with pytest.raises(LayoutError, match="it is no struct"):
        columns(struct.members[0].type, rows)


def test_a_map_without_btf_has_bytes(writer: BtfWriter) -> None:
    assert dtype_of(None, 12) == dtype_of(writer.btf().type(0), 12) == np.dtype("V12")


def test_the_kernels_size_has_to_be_the_types(writer: BtfWriter) -> None:
    writer.int("u32", 4)
    with pytest.raises(LayoutError, match="BTF says 4 bytes, the kernel 8"):
        dtype_of(made(writer, 1), 8)


@pytest.mark.parametrize("kind", ["function", "forward", "self", "huge", "dimensions"])
def test_types_without_values_are_refused(writer: BtfWriter, kind: str) -> None:
    ids = {
        "function": writer.prototype(0, {}),
        "forward": writer.forward("f"),
        "self": writer.struct("self", 8, [("me", 3, 0)]),
        "huge": writer.struct("huge", 1 << 31, []),
    }
    inner = writer.int("u8", 1)
    for _ in range(63):
        inner = writer.array(inner, 1)
    ids["dimensions"] = writer.array(inner, 1)
    with pytest.raises(LayoutError):
        dtype_of(writer.btf().type(ids[kind]))


def test_numpy_is_imported_only_when_it_is_needed() -> None:
    script = "import sys, sonde.bpf.dtype, sonde.bpf.codec, sonde.bpf.knob; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
