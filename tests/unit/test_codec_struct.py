"""Structs, unions and bit-fields become records and back, and errors name the member that is wrong."""

from __future__ import annotations

import copy
import pickle
import struct
import timeit
from typing import Any

import numpy as np
import pytest

from btf_writer import BtfWriter
from sonde.bpf.codec import Codec, Record, as_dict, codec_of


@pytest.fixture
def writer() -> BtfWriter:
    return BtfWriter()


def make(writer: BtfWriter, id: int) -> Codec:
    return codec_of(writer.btf().type(id))


def key_of(writer: BtfWriter) -> Codec:
    """A key as probes have it: 24 bytes, two numbers and a text."""
    number = writer.int("unsigned int", 4)
    comm = writer.array(writer.int("char", 1, signed=True), 16)
    members = [("pid", writer.typedef("__u32", number), 0), ("nr", number, 32), ("comm", comm, 64)]
    return make(writer, writer.struct("key", 24, members))


def test_structs_are_records(writer: BtfWriter) -> None:
    codec = key_of(writer)
    data = struct.pack("=II16s", 41, 257, b"bash")
    key = codec.decode(data)
    assert isinstance(key, Record)
    assert (key.pid, key["nr"], key[2], key[:2]) == (41, 257, "bash", (41, 257))
    assert repr(key) == "key(pid=41, nr=257, comm='bash')"
    assert key == (41, 257, "bash")
    assert {key: 1}[41, 257, "bash"] == 1
    assert as_dict(key) == {"pid": 41, "nr": 257, "comm": "bash"}
    assert pickle.loads(pickle.dumps(key)).pid == 41
    assert copy.deepcopy(key).pid == 41
    assert codec.encode(key) == codec.encode(tuple(key)) == codec.encode(as_dict(key)) == data
    assert codec.decode(memoryview(data)) == codec.decode(bytearray(data)) == key
    with pytest.raises(KeyError):
        _ = key["tid"]
    with pytest.raises(AttributeError):
        _ = key.tid


def test_structs_name_the_member_that_is_wrong(writer: BtfWriter) -> None:
    codec = key_of(writer)
    with pytest.raises(ValueError, match=r"^pid: -1 does not fit: u32 takes 0\.\.4294967295$"):
        codec.encode((-1, 0, ""))
    with pytest.raises(TypeError, match=r"^nr: '0' is no integer"):
        codec.encode((1, "0", ""))
    with pytest.raises(ValueError, match=r"^comm: 17 bytes do not fit: char\[16\] has 16"):
        codec.encode((1, 0, "x" * 17))
    with pytest.raises(ValueError, match="2 values for 3 members: struct key takes pid, nr, comm"):
        codec.encode((1, 0))
    with pytest.raises(ValueError, match="comm is missing"):
        codec.encode({"pid": 1, "nr": 0})
    with pytest.raises(ValueError, match=r"struct key has no pdi: did you mean pid\?"):
        codec.encode({"pdi": 1, "nr": 0, "comm": ""})
    for wrong in (7, "abc", None, {1, 2, 3}):
        with pytest.raises(TypeError, match="give a dict or a tuple of pid, nr, comm"):
            codec.encode(wrong)


def test_flat_structs_of_numbers_name_the_member_too(writer: BtfWriter) -> None:
    """These go to the struct module in one call, which knows no names."""
    number, real = writer.int("u16", 2), writer.float("float", 4)
    codec = make(writer, writer.struct("s", 8, [("a", number, 0), ("x", real, 32)]))
    assert codec.decode(codec.encode((1, 0.5))) == (1, 0.5)
    with pytest.raises(ValueError, match=r"^a: 65536 does not fit"):
        codec.encode((65536, 0.5))
    with pytest.raises(ValueError, match=r"^x: 1e\+300 does not fit: f32 has 4 bytes"):
        codec.encode((1, 1e300))
    with pytest.raises(TypeError, match=r"^x: 'y' is no number"):
        codec.encode((1, "y"))


def test_nested_structs_and_arrays_of_them(writer: BtfWriter) -> None:
    number = writer.int("u8", 1, signed=True)
    point = writer.struct("point", 2, [("x", number, 0), ("y", number, 8)])
    codec = make(writer, writer.struct("path", 7, [("id", number, 0), ("points", writer.array(point, 3), 8)]))
    path = codec.decode(bytes(range(7)))
    assert path.points[1].y == 4
    assert codec.encode(path) == codec.encode({"id": 0, "points": [(1, 2), {"x": 3, "y": 4}, (5, 6)]})
    assert hash(path) == hash((0, ((1, 2), (3, 4), (5, 6))))
    assert as_dict(path)["points"][2] == {"x": 5, "y": 6}
    with pytest.raises(ValueError, match=r"^points: \[1\]: x: 200 does not fit"):
        codec.encode((0, [(1, 2), (200, 0)]))


def test_anonymous_structs_are_part_of_the_record(writer: BtfWriter) -> None:
    number = writer.int("u32", 4)
    inner = writer.struct("", 8, [("b", number, 0), ("c", number, 32)])
    codec = make(writer, writer.struct("s", 12, [("a", number, 0), ("", inner, 32)]))
    assert codec.decode(struct.pack("=3I", 1, 2, 3)) == (1, 2, 3)
    assert codec.decode(bytes(12)).c == 0


def test_padding_is_written_as_zeros(writer: BtfWriter) -> None:
    byte, wide = writer.int("s8", 1, signed=True), writer.int("u64", 8)
    codec = make(writer, writer.struct("s", 24, [("a", byte, 0), ("b", wide, 64), ("c", byte, 128)]))
    assert codec.decode(b"\1" + b"\xaa" * 7 + b"\2" + bytes(7) + b"\3" + b"\xaa" * 7) == (1, 2, 3)
    assert codec.encode((1, 2, 3)) == b"\1" + bytes(7) + struct.pack("=Q", 2) + b"\3" + bytes(7)


def test_members_in_any_order(writer: BtfWriter) -> None:
    """A kernel with randomised layouts declares in one order and stores in another."""
    number, byte = writer.int("u32", 4), writer.int("s8", 1, signed=True)
    codec = make(writer, writer.struct("s", 8, [("b", number, 32), ("a", byte, 0)]))
    assert codec.decode(b"\5" + bytes(3) + struct.pack("=I", 9)) == (9, 5)
    assert codec.encode((9, 5)) == b"\5" + bytes(3) + struct.pack("=I", 9)


def test_unions_are_bytes(writer: BtfWriter) -> None:
    number = writer.int("u32", 4)
    six = writer.array(writer.int("unsigned char", 1), 16)
    address = writer.union("address", 16, [("v4", number, 0), ("v6", six, 0)])
    codec: Any = make(writer, address)
    assert codec.decode(bytes(range(16))) == bytes(range(16))
    assert codec.encode(bytes(range(16))) == bytes(range(16))
    assert codec.encode({"v4": 1}) == struct.pack("=I", 1) + bytes(12)
    assert codec.members["v4"].decode(bytes(4)) == 0
    for wrong in ({"v5": 1}, {}, {"v4": 1, "v6": b""}, b"short"):
        with pytest.raises(ValueError, match="union address"):
            codec.encode(wrong)
    with pytest.raises(TypeError, match="is not bytes"):
        codec.encode(1)


def test_bit_fields(writer: BtfWriter) -> None:
    """struct { u32 a:5; s32 b:4; u32 c:20; bool d:1; enum e:2 } fills four bytes."""
    unsigned, signed = writer.int("u32", 4), writer.int("s32", 4, signed=True)
    flag, level = writer.int("_Bool", 1, is_bool=True), writer.enum("level", {"LOW": 0, "HIGH": 2})
    members = [
        ("a", unsigned, 0, 5), ("b", signed, 5, 4), ("c", unsigned, 9, 20), ("d", flag, 29, 1), ("e", level, 30, 2),
    ]  # fmt: skip
    codec = make(writer, writer.struct("bits", 4, members))
    word = 21 | (-3 & 15) << 5 | 777_777 << 9 | 1 << 29 | 2 << 30
    value = codec.decode(word.to_bytes(4, "little"))
    assert value == (21, -3, 777_777, True, 2)
    assert (value.d, value.e.name) == (True, "HIGH")
    assert codec.encode(value) == codec.encode((21, -3, 777_777, True, "HIGH")) == word.to_bytes(4, "little")
    for at, wrong in ((0, 32), (0, -1), (1, 8), (1, -9), (2, 1 << 20)):
        values = [0, 0, 0, False, 0]
        values[at] = wrong
        with pytest.raises(ValueError, match=f"^{'abc'[at]}: {wrong} does not fit: [us]32:[0-9]+ takes"):
            codec.encode(values)


@pytest.mark.parametrize("storage", [3, 5, 6, 7, 9])
def test_bit_fields_in_odd_numbers_of_bytes(writer: BtfWriter, storage: int) -> None:
    """u64 a:33; u64 b:31 with a packed neighbour may need any number of bytes, nine at most."""
    wide = writer.int("u64", 8)
    first = 4
    second = 8 * storage - first - 2
    if second > 64:
        first, second = 8, 64
    codec = make(writer, writer.struct("bits", storage, [("a", wide, 0, first), ("b", wide, first, second)]))
    value = ((1 << first) - 2, (1 << second) - 3)
    data = codec.encode(value)
    assert int.from_bytes(data, "little") == value[0] | value[1] << first
    assert codec.decode(data) == value


def test_bit_fields_of_old_compilers(writer: BtfWriter) -> None:
    three, five = writer.int("u32", 4, bits=3), writer.int("s32", 4, bits=5, offset=3, signed=True)
    codec = make(writer, writer.struct("bits", 4, [("a", three, 0), ("b", five, 0)]))
    assert codec.decode(bytes([0b10111_101, 0, 0, 0])) == (5, -9)
    assert codec.encode((5, -9)) == bytes([0b10111_101, 0, 0, 0])
    alone = make(writer, five)
    assert alone.decode(bytes([0b10111_000, 0, 0, 0])) == -9


def test_members_of_no_size(writer: BtfWriter) -> None:
    number, letter = writer.int("u32", 4), writer.int("char", 1)
    empty = writer.struct("empty", 0, [])
    members = [
        ("e", empty, 0), ("a", number, 0), ("tail", writer.array(number, 0), 32), ("text", writer.array(letter, 0), 32),
        ("many", writer.array(empty, 2), 32),
    ]  # fmt: skip
    codec = make(writer, writer.struct("s", 4, members))
    value = codec.decode(struct.pack("=I", 7))
    assert value == ((), 7, (), "", ((), ()))
    assert codec.encode(value) == struct.pack("=I", 7)


def test_names_that_python_keeps_are_items(writer: BtfWriter) -> None:
    byte = writer.int("s8", 1, signed=True)
    names = ["class", "__len__", "count", "__fields__", "_private", "index"]
    id = writer.struct("s\udcff", 6, [(name, byte, 8 * at) for at, name in enumerate(names)])
    value = make(writer, id).decode(bytes(range(6)))
    assert [value[name] for name in names] == list(range(6)) == list(value)
    assert (len(value), value.count, value.index, value._private) == (6, 2, 5, 4)


def test_typedefs_name_anonymous_structs(writer: BtfWriter) -> None:
    anonymous = writer.struct("", 4, [("a", writer.int("u32", 4), 0)])
    codec = make(writer, writer.const(writer.typedef("pair_t", anonymous)))
    assert repr(codec.decode(bytes(4))) == "pair_t(a=0)"
    assert codec.label == "struct pair_t"


def test_a_row_of_an_array_is_a_key(writer: BtfWriter) -> None:
    codec = key_of(writer)
    rows = np.zeros(1, np.dtype([("pid", "u4"), ("nr", "u4"), ("comm", "S16")]))
    rows[0] = (41, 257, b"bash")
    assert codec.encode(rows[0]) == codec.encode((41, 257, "bash"))


def test_decoding_a_key_costs_little_more_than_taking_it_apart(writer: BtfWriter) -> None:
    """About 1 µs, of which struct takes a tenth; measured side by side, since this machine may be busy."""
    codec = key_of(writer)
    data = struct.pack("=II16s", 41, 257, b"bash")
    unpack = struct.Struct("=II16s").unpack
    decoded, unpacked = [], []
    for _ in range(200):
        decoded.append(timeit.timeit(lambda: codec.decode(data), number=200))
        unpacked.append(timeit.timeit(lambda: unpack(data), number=200))
    assert min(decoded) < 20 * min(unpacked), f"{min(decoded) / min(unpacked):.0f} times"
