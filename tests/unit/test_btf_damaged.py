"""Damaged BTF raises LayoutError and nothing else, whatever is asked of it, and in bounded time."""

from __future__ import annotations

import random
import struct

import pytest

from btf_writer import BtfWriter
from sonde.bpf.btf import Btf, DataSec, Struct, fields_of, is_volatile, resolve
from sonde.bpf.codec import codec_of
from sonde.bpf.dtype import columns, dtype_of
from sonde.bpf.knob import KNOB, globals_in
from sonde.errors import LayoutError

VALUE_MAX = 1 << 16  # bytes; larger values are described and not made


def specimen() -> bytes:
    """A BTF with every kind in it."""
    writer = BtfWriter()
    number, wide = writer.int("unsigned int", 4), writer.int("long", 8, signed=True)
    letter, byte = writer.int("char", 1, signed=True), writer.int("unsigned char", 1)
    flag, real = writer.int("_Bool", 1, is_bool=True), writer.float("double", 8)
    level = writer.enum("level", {"LOW": 0, "HIGH": -7}, signed=True)
    big = writer.enum64("big", {"HUGE": 1 << 40})
    inner = writer.struct("", 8, [("x", number, 0, 0), ("y", number, 32, 7), ("z", level, 39, 9)])
    either = writer.union("either", 8, [("number", number, 0), ("octets", writer.array(byte, 8), 0)])
    key = writer.typedef("key_t", writer.const(writer.type_tag("tag", number)))
    members = [
        ("key", key, 0), ("", inner, 32), ("wide", wide, 128), ("comm", writer.array(letter, 16), 192),
        ("flag", flag, 320), ("many", writer.array(writer.array(number, 2), 3), 352), ("real", real, 576),
        ("either", either, 640), ("next", writer.pointer(16), 704), ("big", big, 768), ("level", level, 832),
    ]  # fmt: skip
    record = writer.struct("record", 112, members)
    writer.restrict(writer.pointer(writer.forward("elsewhere")))
    prototype = writer.prototype(number, {"record": writer.pointer(record), "": 0})
    writer.declaration_tag("kfunc", writer.function("run", prototype))
    knob = writer.variable("knob", writer.const(writer.volatile(number)))
    live = writer.variable("live", record)
    writer.section(".rodata", 120, [(knob, 0, 4), (live, 8, 112)])
    return writer.data()


def use(data: bytes) -> tuple[int, int]:
    """Ask everything of a BTF; give how many types it had, and how many questions met LayoutError.

    Anything else that is raised fails the test.
    """
    btf, refused = Btf(data), 0
    for id in range(len(btf)):
        for ask in (_describe, _find, _size, _codec, _dtype, _knobs):
            try:
                ask(btf, id)
            except LayoutError:
                refused += 1
    return len(btf), refused


def _describe(btf: Btf, id: int) -> None:
    found = btf.type(id)
    str(found), repr(found), resolve(found), is_volatile(found)


def _find(btf: Btf, id: int) -> None:
    found = btf.type(id)
    assert not found.name or found.name == "void" or btf.require(found.name, type(found)).name == found.name


def _size(btf: Btf, id: int) -> None:
    found = btf.type(id)
    assert found.size >= 0
    if isinstance(found, Struct):
        assert all(each.offset + each.size <= found.size for each in fields_of(found))


def _codec(btf: Btf, id: int) -> None:
    codec = codec_of(btf.type(id))
    assert codec.valid
    if codec.size <= VALUE_MAX and codec.weight <= VALUE_MAX:
        for data in (bytes(codec.size), b"\xff" * codec.size):
            again = codec.encode(codec.decode(data))
            assert codec.encode(codec.decode(again)) == again


def _dtype(btf: Btf, id: int) -> None:
    import numpy as np

    found = btf.type(id)
    dtype = dtype_of(found)
    assert dtype.itemsize == found.size
    if isinstance(found, Struct) and 0 < found.size <= VALUE_MAX:
        columns(found, np.zeros(2, dtype))


def _knobs(btf: Btf, id: int) -> None:
    found = btf.type(id)
    if isinstance(found, DataSec):
        for knob in globals_in(found, memoryview(bytearray(256)), noun=KNOB):
            assert knob.valid
            knob.set_text(str(int(knob.value))) if knob.codec.code == "I" else None


def test_the_specimen_is_sound() -> None:
    """Otherwise the damage below would be done to nothing."""
    data = specimen()
    # void, the forward declaration, the function, its type and its tag have no size, codec and dtype, the section
    # has a size only; everything else has all three.
    assert use(data) == (32, 5 * 3 + 2)
    btf = Btf(data)
    record = btf.require("record", Struct)
    assert codec_of(record).decode(bytes(112)).comm == ""
    assert dtype_of(record).itemsize == 112


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bits_and_bytes(seed: int) -> None:
    """Twelve times 250 damaged copies."""
    chance = random.Random(seed)
    sound = specimen()
    refused = 0
    for _ in range(250):
        data = bytearray(sound)
        for _ in range(chance.choice([1, 1, 1, 2, 8, 64])):
            at = chance.randrange(len(data))
            if chance.random() < 0.5:
                data[at] ^= 1 << chance.randrange(8)
            else:
                data[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        try:
            use(bytes(data))
        except LayoutError:
            refused += 1
    assert 0 < refused < 250


@pytest.mark.parametrize("seed", range(8))
def test_words_replaced_by_other_words(seed: int) -> None:
    """Ids, counts and offsets that are possible but wrong reach deeper than noise does."""
    chance = random.Random(seed)
    sound = specimen()
    for _ in range(250):
        data = bytearray(sound)
        for _ in range(chance.choice([1, 1, 2, 4])):
            at = 4 * chance.randrange(6, len(data) // 4)
            word = chance.choice(
                [chance.randrange(40), chance.randrange(1 << 32), 0xFFFFFFFF, 1 << 31, 0x10000]
            )
            struct.pack_into("=I", data, at, word)
        try:
            use(bytes(data))
        except LayoutError:
            pass


def test_every_truncation() -> None:
    data = specimen()
    for size in range(len(data)):
        with pytest.raises(LayoutError):
            Btf(data[:size])


def test_noise_behind_a_sound_header() -> None:
    chance = random.Random(1)
    for size in range(0, 400, 3):
        types = 4 * (size // 4)
        header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, types, types, 1)
        try:
            use(header + chance.randbytes(types) + b"\0")
        except LayoutError:
            pass


def test_structs_that_double_at_every_level_end() -> None:
    """A named struct of two of the next, sixty levels deep, has 2^60 members and no bytes."""
    writer = BtfWriter()
    inner = writer.struct("leaf", 0, [])
    for at in range(60):
        inner = writer.struct(f"level_{at}", 0, [("a", inner, 0), ("b", inner, 0)])
    btf = writer.btf()
    with pytest.raises(LayoutError, match="values"):
        codec_of(btf.type(inner))
    assert dtype_of(btf.type(inner)).itemsize == 0
