"""Codecs turn C's bytes into Python values and back, and say what they take."""

from __future__ import annotations

import json
import math
import pickle
import struct
import sys

import numpy as np
import pytest

from btf_writer import BtfWriter
from sonde.bpf.codec import Codec, CutText, codec_of
from sonde.errors import LayoutError


@pytest.fixture
def writer() -> BtfWriter:
    return BtfWriter()


def make(writer: BtfWriter, id: int) -> Codec:
    return codec_of(writer.btf().type(id))


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_integers_go_round_and_say_their_range(writer: BtfWriter, size: int, signed: bool) -> None:  # noqa: FBT001
    codec = make(writer, writer.int("number", size, signed=signed))
    low = -(1 << 8 * size - 1) if signed else 0
    high = (1 << 8 * size - signed) - 1
    label = f"{'s' if signed else 'u'}{8 * size}"
    assert codec.valid == f"{label} {low}..{high}"
    for value in (low, 0, 1, high):
        assert codec.encode(value) == value.to_bytes(size, sys.byteorder, signed=signed)
        assert codec.decode(codec.encode(value)) == value
    for value in (low - 1, high + 1):
        with pytest.raises(ValueError, match=rf"^{value} does not fit: {label} takes {low}\.\.{high}$"):
            codec.encode(value)
    for wrong in (1.5, "1", None, b"1"):
        with pytest.raises(TypeError, match="is no integer"):
            codec.encode(wrong)


def test_integers_of_128_bits(writer: BtfWriter) -> None:
    codec = make(writer, writer.int("unsigned __int128", 16))
    assert codec.decode(codec.encode((1 << 128) - 1)) == (1 << 128) - 1
    with pytest.raises(ValueError, match=r"does not fit: u128 takes 0\.\."):
        codec.encode(1 << 128)
    signed = make(writer, writer.int("__int128", 16, signed=True))
    assert signed.decode(b"\xff" * 16) == -1


def test_numpy_numbers_are_numbers(writer: BtfWriter) -> None:
    number = writer.int("u32", 4)
    record = writer.struct("s", 4, [("a", number, 0)])
    assert make(writer, number).encode(np.uint32(7)) == make(writer, record).encode((np.int64(7),))


def test_wrong_sizes_are_refused(writer: BtfWriter) -> None:
    number = writer.int("u32", 4)
    text = writer.array(writer.int("char", 1), 16)
    many = writer.array(number, 4)
    record = writer.struct("s", 16, [("a", many, 0)])
    for id, size in ((number, 4), (text, 16), (many, 16), (record, 16)):
        codec = make(writer, id)
        for data in (bytes(size - 1), bytes(size + 1), memoryview(b"")):
            with pytest.raises(LayoutError, match=f"it has {size} bytes, not {len(data)}"):
                codec.decode(data)


def test_bool(writer: BtfWriter) -> None:
    codec = make(writer, writer.int("_Bool", 1, is_bool=True))
    assert [codec.decode(bytes([byte])) for byte in (0, 1, 7)] == [False, True, True]
    assert codec.decode(b"\1") is True
    assert [codec.encode(value) for value in (True, 0)] == [b"\1", b"\0"]
    with pytest.raises(ValueError, match=r"2 does not fit: bool takes 0\.\.1"):
        codec.encode(2)
    with pytest.raises(TypeError, match="is no integer"):
        codec.encode("yes")


def test_enumerations_are_ints_with_names(writer: BtfWriter) -> None:
    codec = make(writer, writer.enum("state", {"IDLE": 0, "BUSY": 3, "ALIAS": 3, "BAD": -1}, signed=True))
    busy = codec.decode(codec.encode("BUSY"))
    assert (busy, busy.name, str(busy), repr(busy), f"{busy:>6}", f"{busy:04d}") == (
        3, "BUSY", "BUSY", "BUSY(3)", "  BUSY", "0003",
    )  # fmt: skip
    assert codec.encode(busy) == codec.encode(3) == codec.encode("ALIAS")
    assert codec.decode(codec.encode(-1)).name == "BAD"
    assert codec.decode(codec.encode(0)).name == "IDLE"
    unknown = codec.decode(codec.encode(17))
    assert (unknown, unknown.name, str(unknown), repr(unknown)) == (17, None, "17", "17")
    assert codec.valid == "enum state IDLE, BUSY, ALIAS, BAD"
    with pytest.raises(ValueError, match="'LAZY' is no enum state: take one of IDLE, BUSY"):
        codec.encode("LAZY")
    with pytest.raises(ValueError, match="does not fit"):
        codec.encode(1 << 31)
    assert pickle.loads(pickle.dumps(busy)).name == "BUSY"
    assert json.dumps(busy) == "3"


def test_enumerations_of_64_bits(writer: BtfWriter) -> None:
    codec = make(writer, writer.enum64("wide", {"HIGH": 1 << 63}))
    assert codec.decode(codec.encode("HIGH")) == 1 << 63


def test_text_ends_at_the_nul(writer: BtfWriter) -> None:
    codec = make(writer, writer.array(writer.int("char", 1, signed=True), 8))
    assert codec.decode(b"bash\0\0\0\0") == "bash"
    assert type(codec.decode(b"bash\0\0\0\0")) is str
    assert codec.decode(b"12345678") == "12345678"
    assert codec.encode("bash") == b"bash\0\0\0\0"
    assert codec.encode(b"12345678") == b"12345678"
    assert codec.encode("für") == b"f\xc3\xbcr\0\0\0\0"
    assert codec.decode(b"f\xfcr\0\0\0\0\0") == "f\udcfcr"
    assert codec.encode("f\udcfcr") == b"f\xfcr\0\0\0\0\0"
    with pytest.raises(ValueError, match=r"9 bytes do not fit: char\[8\] has 8"):
        codec.encode("123456789")
    with pytest.raises(TypeError, match="7 is no text"):
        codec.encode(7)
    with pytest.raises(ValueError, match="lone surrogates"):
        codec.encode("\ud800")


def test_text_keeps_what_lies_behind_its_nul(writer: BtfWriter) -> None:
    """A key that a program copied into a dirty buffer is found again by what was read of it."""
    codec = make(writer, writer.array(writer.int("char", 1), 8))
    text = codec.decode(b"sh\0dirty")
    assert text == "sh"
    assert isinstance(text, CutText)
    assert codec.encode(text) == b"sh\0dirty"
    assert codec.encode(str(text)) == b"sh\0\0\0\0\0\0"
    assert pickle.loads(pickle.dumps(text)).raw == b"sh\0dirty"


def test_arrays_of_unsigned_bytes_are_bytes(writer: BtfWriter) -> None:
    codec = make(writer, writer.array(writer.int("unsigned char", 1), 6))
    assert codec.decode(b"\1\2\3\4\5\6") == b"\1\2\3\4\5\6"
    assert codec.encode(b"\1\2") == codec.encode([1, 2]) == codec.encode((1, 2)) == b"\1\2\0\0\0\0"
    for wrong, error in ((b"1234567", ValueError), ([256], ValueError), (6, TypeError), ("text", TypeError)):
        with pytest.raises(error, match="u8"):
            codec.encode(wrong)


def test_arrays_are_tuples_and_fill_up_with_zeros(writer: BtfWriter) -> None:
    number = writer.int("short", 2, signed=True)
    codec = make(writer, writer.array(number, 4))
    assert codec.decode(struct.pack("=4h", -1, 2, 3, 4)) == (-1, 2, 3, 4)
    assert codec.encode([5, 6]) == struct.pack("=4h", 5, 6, 0, 0)
    assert codec.encode(np.array([1, 2, 3, 4])) == struct.pack("=4h", 1, 2, 3, 4)
    assert codec.label == "s16[4]"
    with pytest.raises(ValueError, match=r"5 values do not fit: s16\[4\] takes 4"):
        codec.encode(range(5))
    with pytest.raises(ValueError, match=r"\[3\]: 40000 does not fit: s16 takes -32768..32767"):
        codec.encode([0, 0, 0, 40_000])
    for wrong in (7, "1234", b"1234", {1: 2}):
        with pytest.raises(TypeError, match="is no list"):
            codec.encode(wrong)


def test_arrays_of_arrays(writer: BtfWriter) -> None:
    number = writer.int("u16", 2)
    codec = make(writer, writer.array(writer.array(number, 3), 2))
    assert codec.decode(struct.pack("=6H", *range(6))) == ((0, 1, 2), (3, 4, 5))
    assert codec.encode(((0, 1, 2), (3, 4, 5))) == struct.pack("=6H", *range(6))
    assert codec.label == "u16[2][3]"
    names = make(writer, writer.array(writer.array(writer.int("char", 1), 4), 2))
    assert names.decode(b"ab\0\0cd\0\0") == ("ab", "cd")


def test_pointers_are_ints(writer: BtfWriter) -> None:
    codec = make(writer, writer.pointer(0))
    assert codec.decode(b"\xff" * 8) == (1 << 64) - 1
    assert codec.valid == "pointer 0..18446744073709551615"


@pytest.mark.parametrize(("size", "value"), [(2, 0.5), (4, -1.25), (8, math.pi)])
def test_floats(writer: BtfWriter, size: int, value: float) -> None:
    codec = make(writer, writer.float("real", size))
    assert codec.decode(codec.encode(value)) == value
    assert codec.encode(1) == codec.encode(1.0)
    assert math.isinf(codec.decode(codec.encode(math.inf)))
    with pytest.raises(TypeError, match="is no number"):
        codec.encode("1")


def test_floats_that_python_lacks_are_bytes(writer: BtfWriter) -> None:
    assert make(writer, writer.float("long double", 16)).decode(bytes(16)) == bytes(16)


def test_a_map_without_btf_has_bytes(writer: BtfWriter) -> None:
    for codec in (codec_of(None, 3), codec_of(writer.btf().type(0), 3)):
        assert codec.decode(b"abc") == codec.encode(b"abc") == b"abc"
        with pytest.raises(ValueError, match="2 bytes do not fit: 3 bytes takes 3"):
            codec.encode(b"ab")
    with pytest.raises(LayoutError, match="neither a type nor a size"):
        codec_of(None)


def test_the_kernels_size_has_to_be_the_types(writer: BtfWriter) -> None:
    id = writer.int("u32", 4)
    assert codec_of(writer.btf().type(id), 4).size == 4
    with pytest.raises(LayoutError, match="BTF says 4 bytes, the kernel 8"):
        codec_of(writer.btf().type(id), 8)


@pytest.mark.parametrize("kind", ["function", "forward", "self", "overlap", "huge", "void"])
def test_types_without_values_are_refused(writer: BtfWriter, kind: str) -> None:
    number = writer.int("u64", 8)
    empty = writer.struct("empty", 0, [])
    ids = {
        "function": writer.prototype(0, {}),
        "forward": writer.forward("f"),
        "self": writer.struct("self", 8, [("me", writer.first_id + len(writer.types) + 1 - 1, 0)]),
        "overlap": writer.struct("overlap", 12, [("a", number, 0), ("b", number, 32)]),
        "huge": writer.array(empty, 1 << 31),
        "void": writer.array(0, 4),
    }
    btf = writer.btf()
    with pytest.raises(LayoutError):
        codec_of(btf.type(ids[kind]))


def test_texts_that_people_type(writer: BtfWriter) -> None:
    number = writer.int("u32", 4)
    typed = [
        (number, " 0x10 ", 16),
        (number, "12", 12),
        (writer.int("_Bool", 1, is_bool=True), "On", True),
        (writer.int("_Bool", 1, is_bool=True), "no", False),
        (writer.enum("state", {"IDLE": 0, "BUSY": 3}), "BUSY", 3),
        (writer.enum("state", {"IDLE": 0, "BUSY": 3}), "0x3", 3),
        (writer.float("double", 8), "0.5", 0.5),
        (writer.array(writer.int("char", 1), 8), "bash", "bash"),
        (writer.array(number, 4), "1, 0x2,3", [1, 2, 3]),
        (writer.array(number, 4), "", []),
        (writer.array(writer.int("unsigned char", 1), 4), "1,2", b"\1\2"),
        (writer.array(writer.array(writer.int("char", 1), 8), 2), "nginx,redis", ["nginx", "redis"]),
        (writer.int("u128", 16), "0x1" + 20 * "0", 16**20),
    ]
    for id, text, value in typed:
        assert make(writer, id).parse(text) == value
    assert codec_of(None, 2).parse("0x0a0b") == b"\x0a\x0b"
    record = writer.struct("s", 4, [("a", number, 0)])
    wrong = [
        (number, "ten", "take u32 0..4294967295"), (number, "", "is no integer"), (record, "1", "set it from Python"),
        (writer.int("_Bool", 1, is_bool=True), "maybe", "take true or false"),
        (writer.enum("state", {"IDLE": 0}), "BUSY", "take one of IDLE"), (writer.float("double", 8), "x", "0.5"),
        (writer.array(number, 4), "1,,2", "is no integer"),
        (writer.array(writer.array(number, 2), 2), "1,2", "set it from Python"),
    ]  # fmt: skip
    for id, text, why in wrong:
        with pytest.raises(ValueError, match=why):
            make(writer, id).parse(text)
