"""BTF is read as the kernel's documentation describes it, and refused where it is damaged."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from btf_writer import BtfWriter
from sonde.bpf.btf import (
    Array,
    Btf,
    Const,
    DataSec,
    DeclTag,
    Enum,
    Enum64,
    Field,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Pointer,
    Restrict,
    Struct,
    Typedef,
    TypeTag,
    Union,
    Unknown,
    Var,
    Void,
    Volatile,
    fields_of,
    is_volatile,
    resolve,
)
from sonde.bpf.btf import btf as btf_module
from sonde.errors import LayoutError, NotSupportedError


@pytest.fixture
def writer() -> BtfWriter:
    return BtfWriter()


def test_ints_tell_size_sign_and_meaning(writer: BtfWriter) -> None:
    writer.int("unsigned int", 4)
    writer.int("long", 8, signed=True)
    writer.int("char", 1, signed=True)
    writer.int("signed char", 1, signed=True)
    writer.int("_Bool", 1, is_bool=True)
    writer.int("unsigned char", 1, is_char=True)
    btf = writer.btf()

    types = [each for each in btf if isinstance(each, Int)]
    assert [(each.name, each.size, each.bits, each.signed) for each in types[:2]] == [
        ("unsigned int", 4, 32, False),
        ("long", 8, 64, True),
    ]
    assert [each.is_char for each in types] == [False, False, True, False, False, False]
    assert [each.is_bool for each in types] == [False, False, False, False, True, False]


def test_id_zero_is_void_and_counts(writer: BtfWriter) -> None:
    writer.int("int", 4)
    btf = writer.btf()
    assert isinstance(btf.type(0), Void)
    assert len(btf) == 2 == len(list(btf))
    assert [each.id for each in btf] == [0, 1]


def test_every_kind_is_read(writer: BtfWriter) -> None:
    number = writer.int("int", 4, signed=True)
    pointer = writer.pointer(number)
    array = writer.array(number, 3)
    struct_ = writer.struct("s", 4, [("a", number, 0)])
    union = writer.union("u", 4, [("a", number, 0)])
    enum = writer.enum("e", {"A": 0, "B": -1}, signed=True)
    forward = writer.forward("f", is_union=True)
    typedef = writer.typedef("t", struct_)
    volatile, const, restrict = writer.volatile(number), writer.const(number), writer.restrict(pointer)
    prototype = writer.prototype(number, {"x": number, "y": pointer})
    function = writer.function("run", prototype)
    variable = writer.variable("v", number)
    section = writer.section(".data", 4, [(variable, 0, 4)])
    double = writer.float("double", 8)
    tag = writer.declaration_tag("mine", struct_, 0)
    type_tag = writer.type_tag("user", number)
    wide = writer.enum64("w", {"BIG": 1 << 40, "NEGATIVE": -(1 << 40)}, signed=True)
    btf = writer.btf()

    kinds = {
        pointer: Pointer, array: Array, struct_: Struct, union: Union, enum: Enum, forward: Fwd, typedef: Typedef,
        volatile: Volatile, const: Const, restrict: Restrict, prototype: FuncProto, function: Func, variable: Var,
        section: DataSec, double: Float, tag: DeclTag, type_tag: TypeTag, wide: Enum64,
    }  # fmt: skip
    assert {id: type(btf.type(id)) for id in kinds} == kinds
    found = btf.require("e", Enum)
    assert (found.values, found.signed) == ((("A", 0), ("B", -1)), True)
    assert btf.require("w", Enum64).values == (("BIG", 1 << 40), ("NEGATIVE", -(1 << 40)))
    assert btf.require("f", Fwd).is_union
    assert [(each.name, str(each.type)) for each in btf.type(prototype).parameters] == [  # type: ignore[attr-defined]
        ("x", "int"),
        ("y", "pointer to int"),
    ]
    placed = btf.require(".data", DataSec).variables[0]
    assert (placed.variable.name, placed.offset, placed.size) == ("v", 0, 4)
    assert btf.require("mine", DeclTag).component == 0
    assert btf.require("run", Func).linkage == "global"


def test_types_are_made_once_and_cycles_are_no_problem(writer: BtfWriter) -> None:
    """struct list_head points to itself."""
    head = writer.struct("list_head", 16, [("next", 2, 0), ("previous", 2, 64)])
    assert writer.pointer(head) == 2
    btf = writer.btf()
    found = btf.require("list_head", Struct)
    first = found.members[0].type
    assert isinstance(first, Pointer)
    assert first.target is found
    assert btf.type(1) is found


def test_sizes_follow_names_and_qualifiers(writer: BtfWriter) -> None:
    number = writer.int("int", 4)
    named = writer.typedef("u32", writer.const(writer.volatile(writer.type_tag("rcu", number))))
    matrix = writer.array(writer.array(named, 3), 5)
    void = writer.pointer(0)
    btf = writer.btf()
    assert btf.type(named).size == 4
    assert resolve(btf.type(named)) is btf.type(number)
    assert btf.type(matrix).size == 60
    assert btf.type(void).size == 8


@pytest.mark.parametrize("kind", ["void", "function", "prototype", "forward"])
def test_what_has_no_size_says_so(writer: BtfWriter, kind: str) -> None:
    prototype = writer.prototype(0, {})
    ids = {"void": 0, "prototype": prototype}
    ids |= {"function": writer.function("run", prototype), "forward": writer.forward("f")}
    with pytest.raises(LayoutError, match="has none"):
        _ = writer.btf().type(ids[kind]).size


def test_find_looks_for_name_and_kind(writer: BtfWriter) -> None:
    number = writer.int("u32", 4)
    writer.struct("x", 4, [("max", number, 0)])
    writer.typedef("x", number)
    btf = writer.btf()
    assert isinstance(btf.find("x"), Struct)
    assert isinstance(btf.find("x", Typedef), Typedef)
    assert btf.find("x", Enum) is None
    assert btf.find("") is None
    assert btf.find("ax") is None, "the tail of a member's name is no type"


def test_strings_may_share_their_tails(writer: BtfWriter) -> None:
    """The format lets a name be the end of another string."""
    writer.int("max_x", 4)
    data = bytearray(writer.data())
    struct.pack_into("=I", data, 24, 1 + len("max_"))
    assert isinstance(Btf(bytes(data)).find("x"), Int)


def test_require_names_what_is_near(writer: BtfWriter) -> None:
    writer.struct("task_struct", 0, [])
    writer.typedef("task_strict", 0)
    with pytest.raises(
        LayoutError, match=r"^find struct task_strut: the BTF has none: did you mean task_struct\?$"
    ):
        writer.btf().require("task_strut", Struct)


def test_a_module_goes_on_where_the_kernel_ends(writer: BtfWriter) -> None:
    number = writer.int("u64", 8)
    kernel = writer.btf()
    module = BtfWriter(first_id=len(kernel), first_string=len(writer.strings))
    record = module.struct("record", 8, [("stamp", number, 0)])
    module.types.append(
        struct.pack("=III", 1, 8 << 24, record)
    )  # a typedef, named by the kernel's string "u64"
    both = module.btf(kernel)

    assert record == 2
    assert both.first_id == 2
    assert len(both) == 4
    assert both.base is kernel
    assert both.type(1) is kernel.type(1)
    assert both.require("record", Struct).members[0].type is kernel.type(1)
    assert both.require("u64", Int) is kernel.type(1)
    assert both.require("u64", Typedef).target is both.type(record)


def test_the_other_byte_order_is_refused_clearly() -> None:
    other = ">" if sys.byteorder == "little" else "<"
    with pytest.raises(LayoutError, match=f"not {sys.byteorder}-endian as this machine"):
        BtfWriter(order=other).btf()


def test_kinds_of_the_future_are_skipped_by_their_lengths(writer: BtfWriter) -> None:
    """Linux 7.1 began to write how long each kind is, so that older readers can go on behind it."""
    writer.int("int", 4)
    writer.add(21, "future", 7, writer.words(1, 2, 3, 4, 5), count=2)
    writer.typedef("after", 1)
    layout = bytes(4 * 21) + struct.pack("=BBH", 4, 8, 0)
    btf = Btf(writer.data(layout=layout))
    unknown = btf.type(2)
    assert isinstance(unknown, Unknown)
    assert (unknown.name, unknown.number) == ("future", 21)
    assert btf.require("after", Typedef).target is btf.type(1)


def test_kinds_of_the_future_without_lengths_are_refused(writer: BtfWriter) -> None:
    writer.add(21, "future", 7)
    with pytest.raises(LayoutError, match="kind 21, which is unknown: take a newer sonde"):
        writer.btf()


def test_more_members_than_16_bits_count(writer: BtfWriter) -> None:
    """Linux 7.2 gave the number of elements 24 bits."""
    values = {f"V{number}": number for number in range(70_000)}
    writer.enum("many", values)
    assert len(writer.btf().require("many", Enum).values) == 70_000


def test_fields_dissolve_anonymous_structs(writer: BtfWriter) -> None:
    number = writer.int("u32", 4)
    inner = writer.struct("", 8, [("b", number, 0), ("c", number, 32)])
    both = writer.union("", 8, [("d", number, 0), ("e", inner, 0)])
    writer.struct("s", 24, [("a", number, 0), ("", inner, 64), ("", both, 128)])
    btf = writer.btf()
    assert fields_of(btf.require("s", Struct)) == (
        Field("a", btf.type(number), 0),
        Field("b", btf.type(number), 64),
        Field("c", btf.type(number), 96),
        Field("union_16", btf.type(both), 128),
    )


def test_bit_fields_are_measured_in_both_encodings(writer: BtfWriter) -> None:
    """Old compilers put the bits into the integer, newer ones into the member."""
    number = writer.int("u32", 4)
    three = writer.int("u32", 4, bits=3, offset=2)
    writer.struct("new", 4, [("a", number, 0, 5), ("b", number, 5, 3)])
    writer.struct("old", 4, [("b", three, 3)])
    btf = writer.btf()
    new = fields_of(btf.require("new", Struct))
    assert [(each.name, each.bit_offset, each.bit_size, each.offset, each.size) for each in new] == [
        ("a", 0, 5, 0, 1),
        ("b", 5, 3, 0, 1),
    ]
    (old,) = fields_of(btf.require("old", Struct))
    assert (old.bit_offset, old.bit_size) == (5, 3)


def test_volatile_is_seen_through_names_and_arrays(writer: BtfWriter) -> None:
    number = writer.int("u32", 4)
    plain = writer.const(number)
    both = writer.const(writer.volatile(number))
    named = writer.typedef("t", both)
    many = writer.array(writer.volatile(number), 4)
    loop = writer.typedef("loop", writer.first_id + len(writer.types))
    btf = writer.btf()
    assert [is_volatile(btf.type(id)) for id in (number, plain, both, named, many, loop)] == [
        False, False, True, True, True, False,
    ]  # fmt: skip


def test_names_that_never_end_are_refused(writer: BtfWriter) -> None:
    writer.typedef("loop", 1)
    with pytest.raises(LayoutError, match="never end"):
        _ = writer.btf().type(1).size


def test_an_array_of_itself_is_refused(writer: BtfWriter) -> None:
    writer.array(1, 2)
    with pytest.raises(LayoutError, match="too many dimensions"):
        _ = writer.btf().type(1).size


def test_an_anonymous_struct_within_itself_is_refused(writer: BtfWriter) -> None:
    writer.struct("", 8, [("", 1, 0)])
    with pytest.raises(LayoutError, match="contains itself"):
        fields_of(writer.btf().type(1))  # type: ignore[arg-type]


def test_doubling_anonymous_structs_end(writer: BtfWriter) -> None:
    """Fifty levels of two members each would be 2^50 fields."""
    inner = writer.struct("", 0, [])
    for _ in range(50):
        inner = writer.struct("", 0, [("", inner, 0), ("", inner, 0)])
    with pytest.raises(LayoutError, match="more than 65536 members"):
        fields_of(writer.btf().type(inner))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([("a", 1, 0), ("a", 1, 32)], "has a twice"),
        ([("a", 1, 64)], "outside the struct"),
        ([("a", 1, 3)], "begins within a byte"),
        ([("a", 1, 0, 33)], "33 bits of u32"),
        ([("a", 2, 0, 3)], "3 bits of"),
        ([("a", 99, 0)], "there are 4 types"),
    ],
)
def test_structs_that_contradict_themselves_are_refused(writer: BtfWriter, members: object, why: str) -> None:
    writer.int("u32", 4)
    writer.pointer(1)
    writer.struct("s", 8, members)  # type: ignore[arg-type]
    with pytest.raises(LayoutError, match=why):
        fields_of(writer.btf().require("s", Struct))


@pytest.mark.parametrize(
    ("at", "word", "why"),
    [
        (0, 0xDEAD, "begins with"),
        (4, 8, "header says that it has 8 bytes"),
        (8, 2, "not aligned"),
        (12, 1 << 20, "type section ends beyond"),
        (12, 0xFFFFFFFF, "type section ends beyond"),
        (12, 12, "is cut off"),
        (20, 1 << 20, "string section ends beyond"),
        (20, 0, "begin and end with NUL"),
        (20, 3, "begin and end with NUL"),
    ],
)
def test_damaged_headers_are_refused(writer: BtfWriter, at: int, word: int, why: str) -> None:
    writer.int("int", 4)
    data = bytearray(writer.data())
    struct.pack_into("=I", data, at, word)
    with pytest.raises(LayoutError, match=why):
        Btf(bytes(data))


@pytest.mark.parametrize("size", range(24))
def test_less_than_a_header_is_refused(writer: BtfWriter, size: int) -> None:
    with pytest.raises(LayoutError, match="less than a header"):
        Btf(writer.data()[:size])


def test_a_name_outside_the_strings_is_refused(writer: BtfWriter) -> None:
    writer.int("int", 4)
    data = bytearray(writer.data())
    struct.pack_into("=I", data, 24, 999)
    with pytest.raises(LayoutError, match="string 999 lies outside"):
        Btf(bytes(data)).type(1)


def test_ids_outside_are_refused(writer: BtfWriter) -> None:
    for id in (-1, 1, 1 << 32):
        with pytest.raises(LayoutError, match=f"read BTF type {id}: there are 1 types"):
            writer.btf().type(id)


def test_a_kernel_without_btf_says_what_would_provide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(btf_module, "KERNEL", tmp_path)
    with pytest.raises(NotSupportedError, match="CONFIG_DEBUG_INFO_BTF=y"):
        Btf.kernel()
