"""The kernel's own BTF, all of it: what sonde reads is what bpftool reads, down to each member's sign."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from kernel.btf_dump import ANONYMOUS, KIND_NAMES, Dump, Place
from kernel.effort import effort
from sonde.bpf.btf import (
    Array,
    Btf,
    BtfType,
    DataSec,
    DeclTag,
    Enum,
    Enum64,
    Func,
    FuncProto,
    Int,
    Reference,
    Struct,
    Union,
    fields_of,
    resolve,
)
from sonde.bpf.codec import codec_of
from sonde.bpf.dtype import columns, dtype_of
from sonde.errors import KernelError

pytestmark = pytest.mark.beside

KERNEL = Path("/sys/kernel/btf")
SLOT_MAX = 1 << 20  # bytes of a struct that is decoded as well as described
# Every type, or every 31st.
STRIDE = effort(1, emulated=31)
WALK_SECONDS_MAX = effort(15, emulated=60)


@pytest.fixture(scope="module")
def btf() -> Btf:
    return Btf.kernel()


@pytest.fixture(scope="module")
def dump() -> Dump:
    if shutil.which("bpftool") is None:
        pytest.skip("there is no bpftool on PATH: apt-get install bpftool")
    try:
        return Dump(str(KERNEL / "vmlinux"))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"bpftool cannot read this kernel's BTF: {error.stderr.decode().strip()}")


def structs_of(btf: Btf) -> list[Struct]:
    # The stride goes by id: to look for structs only would read every type.
    return [each for each in map(btf.type, range(0, len(btf), STRIDE)) if isinstance(each, Struct)]


def test_the_whole_kernel_is_walked_in_seconds() -> None:
    """A hundred thousand types and more, each with its members; the processor's time, for others run too."""
    begin = time.process_time()
    btf = Btf.kernel()
    walked = [btf.type(id) for id in range(0, len(btf), STRIDE)]
    members = sum(len(each.members) for each in walked if isinstance(each, (Struct, Union)))
    spent = time.process_time() - begin
    assert len(btf) > 50_000
    assert members > 30_000 // STRIDE
    assert spent < WALK_SECONDS_MAX, f"{len(walked)} types in {spent:.1f} s"


def test_every_type_is_bpftools(btf: Btf, dump: Dump) -> None:
    """Kind, name, size, target, and what is particular to each kind, for every id."""
    assert len(btf) == len(dump) + 1
    for id in list(dump)[::STRIDE]:
        expected, found = dump[id], btf.type(id)
        kind = "ENUM64" if isinstance(found, Enum64) else KIND_NAMES.get(found.kind, "ENUM")
        assert kind == expected["kind"]
        assert (found.name or ANONYMOUS) == expected["name"]
        if "size" in expected:
            assert found.size == expected["size"]
        if isinstance(found, Reference):
            target = expected["ret_type_id"] if isinstance(found, FuncProto) else expected["type_id"]
            assert found.target.id == target
        assert particulars(found) == told(expected), f"type {id}"


def particulars(found: BtfType) -> object:
    """Say what only this kind has, as ``told`` says it of bpftool's."""
    match found:
        case Int():
            encoding = "BOOL" if found.is_bool else "SIGNED" if found.signed else "(none)"
            return found.bits, found.offset, encoding
        case Array():
            return found.element.id, found.count
        case Struct() | Union():
            return [
                (each.name or ANONYMOUS, each.type_id, each.bit_offset, each.bit_size)
                for each in found.members
            ]
        case Enum():
            return found.values, "SIGNED" if found.signed else "UNSIGNED"
        case FuncProto():
            return [(each.name or ANONYMOUS, each.type_id) for each in found.parameters]
        case DataSec():
            return [(each.type_id, each.offset, each.size) for each in found.variables]
        case Func():
            return found.linkage
        case DeclTag():
            return found.component
    return None


def told(expected: dict) -> object:  # type: ignore[type-arg]
    match expected["kind"]:
        case "INT":
            return expected["nr_bits"], expected["bits_offset"], expected["encoding"]
        case "ARRAY":
            return expected["type_id"], expected["nr_elems"]
        case "STRUCT" | "UNION":
            return [
                (each["name"], each["type_id"], each["bits_offset"], each.get("bitfield_size", 0))
                for each in expected["members"]
            ]
        case "ENUM" | "ENUM64":
            # Some versions of bpftool print an unsigned value of 32 bits as if it had been extended by its sign.
            mask = (1 << 8 * expected["size"]) - 1 if expected["encoding"] == "UNSIGNED" else -1
            return tuple((each["name"], each["val"] & mask) for each in expected["values"]), expected[
                "encoding"
            ]
        case "FUNC_PROTO":
            return [(each["name"], each["type_id"]) for each in expected["params"]]
        case "DATASEC":
            return [(each["type_id"], each["offset"], each["size"]) for each in expected["vars"]]
        case "FUNC":
            return expected["linkage"]
        case "DECL_TAG":
            return expected["component_idx"]
    return None


def test_every_member_has_bpftools_name_offset_size_and_sign(btf: Btf, dump: Dump) -> None:
    """As fields, which is what codecs and NumPy types are made from."""
    compared = 0
    for struct in structs_of(btf):
        expected = list(dump.places(dump[struct.id]))
        found = [
            Place(each.name, each.bit_offset, each.bit_size, each.size, sign_of(each.type))
            for each in fields_of(struct)
        ]
        assert found == expected, str(struct)
        compared += len(found)
    assert compared > 30_000 // STRIDE


def sign_of(declared: BtfType) -> bool:
    found = resolve(declared)
    if isinstance(found, Array):
        return sign_of(found.element)
    return isinstance(found, (Int, Enum)) and found.signed


def test_every_codec_takes_the_bytes_where_bpftool_says(btf: Btf, dump: Dump) -> None:
    """Each struct is decoded from bytes that are set in one member only: that member, and no other, may see it."""
    probed = 0
    for struct in structs_of(btf):
        places = list(dump.places(dump[struct.id]))
        codec = codec_of(struct)
        assert codec.size == struct.size
        if struct.size > SLOT_MAX:
            continue
        nothing = codec.decode(bytes(struct.size))
        assert codec.encode(nothing) == bytes(struct.size)
        # Whole kernels have 60,000 members; every seventh of a big struct is as good a witness.
        for at, place in enumerate(places[:: 7 if len(places) > 30 else 1]):
            bits = (1 << (place.bit_size or 8 * place.size)) - 1
            data = (bits << place.bit_offset).to_bytes(struct.size, "little")
            value = codec.decode(data)
            changed = [name for name, old, new in zip(codec.names, nothing, value, strict=True) if old != new]
            assert changed == ([place.name] if bits else []), f"{struct}: {at}"
            assert codec.decode(codec.encode(value)) == value, f"{struct}.{place.name}"
            if isinstance(value[place.name], int) and not isinstance(value[place.name], bool) and bits:
                assert value[place.name] == (-1 if place.signed else bits), f"{struct}.{place.name}"
            probed += 1
    assert probed > 20_000 // STRIDE


def test_every_numpy_type_lies_where_bpftool_says(btf: Btf, dump: Dump) -> None:
    for struct in structs_of(btf):
        dtype = dtype_of(struct)
        assert dtype.itemsize == struct.size
        laid = dtype.fields or {}
        rows = np.zeros(1, dtype) if struct.size <= SLOT_MAX else None
        taken = columns(struct, rows) if rows is not None and struct.size else {}
        for place in dump.places(dump[struct.id]):
            if place.bit_size:
                owner = [
                    (name, each[0].itemsize, each[1])
                    for name, each in laid.items()
                    if name.startswith("bits_")
                    and each[1] <= place.bit_offset // 8 < each[1] + each[0].itemsize
                ]
                assert len(owner) == 1, f"{struct}.{place.name}: {owner}"
            else:
                field, offset = laid[place.name][:2]
                assert (8 * offset, field.itemsize) == (place.bit_offset, place.size), (
                    f"{struct}.{place.name}"
                )
                if field.base.kind in "iu" and field.base.itemsize <= 8:
                    assert (field.base.kind == "i") == place.signed, f"{struct}.{place.name}"
            if place.name in taken and place.bit_size and taken[place.name].dtype.kind in "iu":
                assert (taken[place.name].dtype.kind == "i") == place.signed, f"{struct}.{place.name}"


def test_modules_go_on_where_the_kernel_ends(btf: Btf) -> None:
    modules = sorted(path.name for path in KERNEL.iterdir() if path.name != "vmlinux")
    if not modules:
        pytest.skip(
            f"no module with BTF is loaded: {KERNEL} holds {sorted(path.name for path in KERNEL.iterdir())}"
        )
    module = Btf.kernel(modules[0], base=btf)
    assert module.first_id == len(btf)
    assert module.find("task_struct", Struct) is btf.find("task_struct", Struct)
    own = [module.type(id) for id in range(module.first_id, len(module))]
    assert own
    assert all(each.id == id for id, each in enumerate(own, module.first_id))
    for struct in own:
        if isinstance(struct, Struct):
            assert codec_of(struct).size == dtype_of(struct).itemsize == struct.size


def test_btf_by_its_id_is_what_the_kernel_has(btf: Btf) -> None:
    """Linux 5.11 lists its own BTF among those that programs brought."""
    if shutil.which("bpftool") is None:
        pytest.skip("there is no bpftool on PATH: apt-get install bpftool")
    output = subprocess.run(["bpftool", "--json", "btf", "show"], check=True, capture_output=True).stdout
    numbers = [each["id"] for each in json.loads(output) if each.get("name") == "vmlinux"]
    if not numbers:
        pytest.skip("bpftool btf show lists no vmlinux: the kernel does so since Linux 5.11")
    assert len(Btf.of_kernel_id(numbers[0])) == len(btf)


def test_an_id_that_is_not_there_is_an_error_of_ours() -> None:
    with pytest.raises(KernelError, match="read BTF with id 4294967295: no such file or directory"):
        Btf.of_kernel_id(0xFFFFFFFF)
