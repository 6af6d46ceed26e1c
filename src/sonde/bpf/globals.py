"""The global variables of an opened or loaded object, found through its sections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sonde._libbpf import ffi, lib
from sonde.bpf.btf import DataSec
from sonde.bpf.handle import ObjectHandle
from sonde.bpf.knob import KNOB, VARIABLE, Global, Globals, globals_in
from sonde.bpf.map.spec import MapSpec


def knobs_of(handle: ObjectHandle) -> Globals:
    """Find the ``const volatile`` globals; they can be set until load, and the handle closes them."""
    return _collect(handle, lambda section: section.startswith(".rodata"), KNOB)


def variables_of(handle: ObjectHandle) -> Globals:
    """Find the globals that programs write (``.data``, ``.bss``): live once the object is loaded. Linux 5.5."""
    return _collect(handle, lambda section: section.startswith((".data", ".bss")), VARIABLE)


def _collect(handle: ObjectHandle, chosen: Callable[[str], bool], noun: str) -> Globals:
    found: list[Global] = []
    pointer = lib.bpf_object__next_map(handle.pointer, ffi.NULL)
    while pointer:
        spec = MapSpec(handle, pointer)
        if spec.is_internal and chosen(spec.name):
            found += _in_map(handle, pointer, noun)
        pointer = lib.bpf_object__next_map(handle.pointer, pointer)
    collected = Globals(found, noun=noun)
    handle.adopt(collected)
    return collected


def _in_map(handle: ObjectHandle, pointer: Any, noun: str) -> list[Global]:
    btf, section_id = handle.btf, int(lib.bpf_map__btf_value_type_id(pointer))
    if btf is None or not section_id:
        return []
    size = ffi.new("size_t *")
    memory = lib.bpf_map__initial_value(pointer, size)
    section = btf.type(section_id)
    if not memory or not isinstance(section, DataSec):
        return []
    return globals_in(section, memoryview(ffi.buffer(memory, size[0])), noun=noun)
