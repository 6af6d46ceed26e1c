"""How much kernel memory a map takes, as the kernel's own allocation rules say."""

from __future__ import annotations

from typing import Protocol

from sonde._libbpf import lib

HASH_ELEMENT_BYTES = 48  # struct htab_elem without its key, 64-bit (kernel/bpf/hashtab.c)
HASH_BUCKET_BYTES = 16  # struct bucket without lock debugging
LRU_NODE_BYTES = 32
PAGE_BYTES = 4096


class Sized(Protocol):
    """What has the sizes of a map: its ``MapShape``, or the ``MapSpec`` that it will be made by."""

    @property
    def type(self) -> str: ...
    @property
    def key_size(self) -> int: ...
    @property
    def value_size(self) -> int: ...
    @property
    def max_entries(self) -> int: ...
    @property
    def flags(self) -> int: ...


def _rounded(size: int, unit: int = 8) -> int:
    return (size + unit - 1) // unit * unit


def memory_bytes(shape: Sized, cpus: int) -> int:
    """Compute what a map takes on a machine with ``cpus`` possible CPUs, when it is full.

    Follows the kernel's map_mem_usage (Linux 6.4, commit 90a5527d7686); allocator overhead is in it only for entries that
    are allocated one by one, each a size of kmalloc's.
    """
    entries, key, value = shape.max_entries, _rounded(shape.key_size), _rounded(shape.value_size)
    if shape.type in ("hash", "lru_hash"):
        element = HASH_ELEMENT_BYTES + key + value
        return _buckets(entries) + entries * (
            _slab(element) if shape.flags & lib.BPF_F_NO_PREALLOC else element
        )
    if shape.type in ("percpu_hash", "lru_percpu_hash"):
        return _buckets(entries) + entries * (HASH_ELEMENT_BYTES + key + 8 + value * cpus)
    if shape.type == "percpu_array":
        return entries * (8 + value * cpus)
    if shape.type == "ringbuf":
        return _rounded(entries, PAGE_BYTES) + 3 * PAGE_BYTES
    if shape.type in ("task_storage", "sk_storage", "inode_storage", "cgrp_storage"):
        return 0  # it grows and shrinks with what it belongs to; so much each, beside a header of 64 bytes
    return entries * (value if "array" in shape.type else key + value)


def _slab(size: int) -> int:
    """Give what an object of BPF's allocator takes (kernel/bpf/memalloc.c): with a list's pointer, in a cache of kmalloc's."""
    wanted = size + 8
    if wanted <= 192:
        return next(each for each in (8, 16, 32, 64, 96, 128, 192) if wanted <= each)
    return int(1 << (wanted - 1).bit_length())


def _buckets(entries: int) -> int:
    buckets = 1
    while buckets < entries:
        buckets *= 2
    return buckets * HASH_BUCKET_BYTES
