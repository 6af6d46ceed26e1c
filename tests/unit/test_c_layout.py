"""Layouts agree with the compiler's: offsets, sizes, and every value that C stores, for structs made at random."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from c_layout import PREAMBLE, Sample, compiled_btf, native_layouts, random_sample
from sonde.bpf.btf import Btf, BtfType, Struct, fields_of
from sonde.bpf.codec import codec_of
from sonde.bpf.dtype import columns, dtype_of
from sonde_build import compilers

SAMPLES = [random_sample(seed) for seed in range(307)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("c_layout")


@pytest.fixture(scope="module")
def native(folder: Path) -> dict[str, dict[str, str]]:
    return native_layouts(SAMPLES, folder, compilers.host_compiler().command)


@pytest.fixture(scope="module")
def btf(folder: Path) -> Btf:
    """What the compiler for BPF writes down; its layouts are those of x86-64 and arm64."""
    compiler = compilers.bpf_compiler()
    flags = [flag for flag in compiler.flags if flag != "-Werror"]
    return compiled_btf(
        PREAMBLE + "".join(each.source for each in SAMPLES), folder, [*compiler.command, *flags]
    )


def struct_of(btf: Btf, sample: Sample) -> Struct:
    return btf.require(sample.name, Struct)


def test_sizes_and_offsets_are_the_compilers(btf: Btf, native: dict[str, dict[str, str]]) -> None:
    for sample in SAMPLES:
        found = struct_of(btf, sample)
        told = native[sample.name]
        assert found.size == int(told["size"]), sample.source
        offsets = {each.name: each.offset for each in fields_of(found)}
        dtype = dtype_of(found)
        assert dtype.itemsize == found.size
        for member in sample.members:
            if not member.is_bits:
                assert offsets[member.name] == int(told[member.name]), sample.source
                assert dtype.fields is not None
                assert dtype.fields[member.name][1] == int(told[member.name]), sample.source


def test_decoded_values_are_what_c_stored(btf: Btf, native: dict[str, dict[str, str]]) -> None:
    for sample in SAMPLES:
        data = bytes.fromhex(native[sample.name]["bytes"])
        record = codec_of(struct_of(btf, sample)).decode(data)
        assert {each.name: record[each.name] for each in sample.members} == {
            each.name: each.value for each in sample.members
        }, sample.source


def test_encoded_values_are_what_c_stores(btf: Btf, native: dict[str, dict[str, str]]) -> None:
    for sample in SAMPLES:
        values = {each.name: each.value for each in sample.members}
        values |= {
            f"pad_{each.name}": 0 for each in sample.members if each.declaration.startswith("struct {")
        }
        encoded = codec_of(struct_of(btf, sample)).encode(values)
        assert encoded.hex() == native[sample.name]["bytes"], sample.source


def test_columns_are_what_c_stored(btf: Btf, native: dict[str, dict[str, str]]) -> None:
    for sample in SAMPLES:
        found = struct_of(btf, sample)
        rows = np.frombuffer(bytes.fromhex(native[sample.name]["bytes"]) * 3, dtype_of(found))
        taken = columns(found, rows)
        for member in sample.members:
            column = taken[member.name]
            assert len(column) == 3
            for value in column:
                if isinstance(member.value, (int, float)):
                    assert value == member.value, sample.source
                elif isinstance(member.value, str):
                    assert value.decode() == member.value
                else:
                    assert value.tobytes() == codec_of(_member_type(found, member.name)).encode(member.value)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc on PATH")
def test_gcc_writes_down_the_same_layouts(folder: Path, btf: Btf) -> None:
    """gcc is a second writer of BTF; since version 12 it has -gbtf."""
    said = subprocess.run(["gcc", "-gbtf", "-E", "-"], input="", capture_output=True, text=True)
    if said.returncode:
        pytest.skip(f"gcc has no -gbtf: {said.stderr.strip()}")
    source = PREAMBLE + "".join(each.source for each in SAMPLES)
    other = compiled_btf(source, folder, ["gcc", "-gbtf"])
    for sample in SAMPLES:
        ours, theirs = fields_of(struct_of(btf, sample)), fields_of(struct_of(other, sample))
        assert [(each.name, each.bit_offset, each.bit_size, each.size) for each in ours] == [
            (each.name, each.bit_offset, each.bit_size, each.size) for each in theirs
        ], sample.source


def _member_type(struct: Struct, name: str) -> BtfType:
    return next(each.type for each in fields_of(struct) if each.name == name)
