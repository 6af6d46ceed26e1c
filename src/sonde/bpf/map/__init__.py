"""Maps as Python collections: one class for each shape of map."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from typing import Any

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import check
from sonde.bpf.btf import Btf
from sonde.bpf.handle import ObjectHandle, Owner
from sonde.bpf.map.array import ArrayMap, SlotMap
from sonde.bpf.map.hash import HashMap
from sonde.bpf.map.lpm_trie import LpmTrieMap, Prefix
from sonde.bpf.map.map import Map, MapShape, map_info, possible_cpus
from sonde.bpf.map.nested import ArrayOfMaps, CgroupArray, HashOfMaps, MapOfMaps, ProgramArray
from sonde.bpf.map.per_cpu import PerCpuArrayMap, PerCpuHashMap
from sonde.bpf.map.queue import BloomFilterMap, QueueMap, StackMap
from sonde.bpf.map.spec import MapSpec
from sonde.bpf.map.stack_trace import StackTraceMap

__all__ = [
    "ArrayMap",
    "ArrayOfMaps",
    "BloomFilterMap",
    "CgroupArray",
    "HashMap",
    "HashOfMaps",
    "LpmTrieMap",
    "Map",
    "MapOfMaps",
    "MapShape",
    "MapSpec",
    "PerCpuArrayMap",
    "PerCpuHashMap",
    "Prefix",
    "ProgramArray",
    "QueueMap",
    "SlotMap",
    "StackMap",
    "StackTraceMap",
    "create_map",
    "map_by_id",
    "map_of",
    "map_types",
    "open_map",
    "open_pinned_map",
    "possible_cpus",
    "shape_of",
    "wrap_map",
]

_CLASSES: dict[str, type[Map]] = {
    "hash": HashMap,
    "lru_hash": HashMap,
    "array": ArrayMap,
    "percpu_hash": PerCpuHashMap,
    "lru_percpu_hash": PerCpuHashMap,
    "percpu_array": PerCpuArrayMap,
    "percpu_cgroup_storage": PerCpuHashMap,
    "lpm_trie": LpmTrieMap,
    "queue": QueueMap,
    "stack": StackMap,
    "bloom_filter": BloomFilterMap,
    "hash_of_maps": HashOfMaps,
    "array_of_maps": ArrayOfMaps,
    "prog_array": ProgramArray,
    "cgroup_array": CgroupArray,
    "stack_trace": StackTraceMap,
    "devmap": SlotMap,
    "cpumap": SlotMap,
    "xskmap": SlotMap,
    "sockmap": SlotMap,
    "reuseport_sockarray": SlotMap,
    # Read in other ways: ring buffers and perf arrays by sonde.bpf.ringbuf, these by their programs alone.
    "ringbuf": Map,
    "perf_event_array": Map,
    "user_ringbuf": Map,
    "arena": Map,
    "struct_ops": Map,
    "task_storage": HashMap,
    "sk_storage": HashMap,
    "inode_storage": HashMap,
    "cgrp_storage": HashMap,
}


def shape_of(handle: ObjectHandle, spec: MapSpec) -> MapShape:
    """Tell what a map of an object is made of; complete before the object is loaded."""
    btf = handle.btf
    inner = lib.bpf_map__inner_map(spec.pointer)
    key_id = int(lib.bpf_map__btf_key_type_id(spec.pointer))
    # A section of globals is bytes; ``Object.variables`` knows what is where in it.
    value_id = 0 if spec.is_internal else int(lib.bpf_map__btf_value_type_id(spec.pointer))
    return MapShape(
        spec.name,
        spec.type,
        spec.key_size,
        spec.value_size,
        spec.max_entries,
        spec.flags,
        btf.type(key_id) if btf and key_id else None,
        btf.type(value_id) if btf and value_id else None,
        shape_of(handle, MapSpec(handle, inner)) if inner else None,
    )


def map_of(handle: ObjectHandle, spec: MapSpec, shape: MapShape) -> Map:
    """Wrap a map of a loaded object, whose shape was taken before it was loaded."""
    # Loading rounds the size of a ring up, and gives a perf event array one entry for each CPU.
    return wrap_map(replace(shape, max_entries=spec.max_entries), spec.fd, handle)


def wrap_map(shape: MapShape, fd: int, handle: Owner | None) -> Map:
    """Wrap a descriptor that belongs to ``handle``, or to the map where there is none."""
    return _CLASSES.get(shape.type, HashMap)(shape, fd, handle)


def create_map(shape: MapShape) -> Map:
    """Create a map of its own; the caller closes it."""
    options = ffi.new("struct bpf_map_create_opts *")
    options.sz = ffi.sizeof("struct bpf_map_create_opts")
    options.map_flags = shape.flags
    number = map_types()[shape.type]
    fd = lib.bpf_map_create(
        number, shape.name.encode(), shape.key_size, shape.value_size, shape.max_entries, options
    )
    return wrap_map(shape, check(fd, "create map", shape.name, capability="CAP_BPF"), None)


@functools.cache
def map_types() -> dict[str, int]:
    """Name every map type that this libbpf knows: ``{"hash": 1, …}``."""
    types: dict[str, int] = {}
    while text := lib.libbpf_bpf_map_type_str(len(types)):
        types[ffi.string(text).decode()] = len(types)
    return types


def open_map(fd: int, *, like: MapShape | None = None) -> Map:
    """Wrap a descriptor, which the map takes over; types come from ``like`` or from the kernel."""
    info = map_info(fd)
    key_type, value_type = (like.key_type, like.value_type) if like else _kernel_types(info)
    kind = lib.libbpf_bpf_map_type_str(info.type)
    shape = MapShape(
        ffi.string(info.name).decode(errors="replace"),
        ffi.string(kind).decode() if kind else "unknown",
        int(info.key_size),
        int(info.value_size),
        int(info.max_entries),
        int(info.map_flags),
        key_type,
        value_type,
    )
    return wrap_map(shape, fd, None)


def _kernel_types(info: Any) -> tuple[Any, Any]:
    if not info.btf_id:
        return None, None
    btf = Btf.of_kernel_id(int(info.btf_id))
    key_id, value_id = int(info.btf_key_type_id), int(info.btf_value_type_id)
    return (btf.type(key_id) if key_id else None), (btf.type(value_id) if value_id else None)


def map_by_id(number: int, *, like: MapShape | None = None) -> Map:
    """Open a map of this machine by its number; the caller closes it. CAP_SYS_ADMIN."""
    result = lib.bpf_map_get_fd_by_id(number)
    return open_map(check(result, "open map", f"{number}", capability="CAP_SYS_ADMIN"), like=like)


def open_pinned_map(path: str | os.PathLike[str]) -> Map:
    """Open a pinned map; the caller closes it."""
    target = os.fspath(path)
    return open_map(check(lib.bpf_obj_get(target.encode()), "open pinned map", target))
