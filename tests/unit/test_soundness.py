"""Types that libbpf would follow over the edge."""

from __future__ import annotations

import pytest

from btf_writer import BtfWriter
from sonde.bpf.btf.soundness import DEPTH_MAX, check_types
from sonde.errors import LayoutError


@pytest.fixture
def writer() -> BtfWriter:
    return BtfWriter()


def refused(writer: BtfWriter) -> str:
    with pytest.raises(LayoutError) as caught:
        check_types(writer.data())
    return caught.value.why


def test_types_that_refer_to_each_other_by_pointer_are_sound(writer: BtfWriter) -> None:
    """A list's head points to itself, and nothing is wrong with it."""
    writer.int("int", 4, signed=True)
    writer.pointer(3)
    writer.struct("list_head", 16, [("next", 2, 0), ("prev", 2, 64)])
    check_types(writer.data())


@pytest.mark.parametrize("kind", ["typedef", "const", "volatile", "restrict", "type_tag"])
def test_alias_of_itself_has_no_end(writer: BtfWriter, kind: str) -> None:
    """libbpf would look for its end for ever."""
    method = getattr(writer, kind)
    if kind in ("typedef", "type_tag"):
        method("t", 1)
    else:
        method(1)
    assert refused(writer) == "type 1 contains itself"


def test_circle_of_aliases_has_no_end(writer: BtfWriter) -> None:
    writer.typedef("a", 2)
    writer.const(3)
    writer.volatile(1)
    assert "contains itself" in refused(writer)


def test_struct_that_contains_itself(writer: BtfWriter) -> None:
    """By value, and through an array; C has no such thing, and alignment would be sought for ever."""
    writer.int("int", 4)
    writer.struct("s", 8, [("a", 1, 0), ("b", 3, 32)])
    writer.array(2, 2)
    assert "contains itself" in refused(writer)


def test_size_of_two_gigabytes(writer: BtfWriter) -> None:
    """libbpf keeps sizes in an int: 0x80000004 became an error code, and that a pointer that it followed."""
    writer.struct("s", 0x80000004, [])
    assert refused(writer) == "type 1 has 2,147,483,652 bytes"


def test_array_of_two_gigabytes(writer: BtfWriter) -> None:
    """The product counts, also of arrays of arrays."""
    writer.int("char", 1)
    writer.array(1, 1 << 16)
    writer.array(2, 1 << 14)
    check_types(writer.data())
    writer.array(3, 2)
    assert refused(writer) == "type 4 has 2,147,483,648 bytes"


def test_type_that_does_not_exist(writer: BtfWriter) -> None:
    writer.pointer(7)
    assert refused(writer) == "type 1 refers to type 7, which does not exist"


def test_parameter_and_variable_of_types_that_do_not_exist() -> None:
    first, second = BtfWriter(), BtfWriter()
    first.prototype(0, {"x": 9})
    second.section(".maps", 8, [(9, 0, 8)])
    assert "refers to type 9" in refused(first)
    assert "refers to type 9" in refused(second)


def test_types_within_types_end_somewhere(writer: BtfWriter) -> None:
    """Recursion in C has no net; nobody nests a hundred structs."""
    writer.int("int", 4)
    for number in range(1, DEPTH_MAX):
        writer.struct(f"s{number}", 4, [("inner", number, 0)])
    check_types(writer.data())
    writer.struct("last", 4, [("inner", DEPTH_MAX, 0)])
    assert f"more than {DEPTH_MAX} types within each other" in refused(writer)


def test_depth_of_a_hundred_thousand_is_no_recursion(writer: BtfWriter) -> None:
    """Followed from the outermost one inwards, the checker itself must not run out of stack."""
    count = 100_000
    for number in range(1, count):
        writer.typedef("t", number + 1)
    writer.int("int", 4)
    assert "types within each other" in refused(writer)


def test_names_must_be_text(writer: BtfWriter) -> None:
    writer.int("caf\udce9", 4)
    assert refused(writer) == "its names are not text"


def test_name_beyond_the_names(writer: BtfWriter) -> None:
    writer.int("int", 4)
    data = bytearray(writer.data())
    data[24:28] = (1 << 20).to_bytes(4, "little")
    with pytest.raises(LayoutError, match="name of type 1 lies beyond"):
        check_types(bytes(data))
