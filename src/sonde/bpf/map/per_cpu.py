"""Per-CPU maps: a value for each possible CPU, so that no two CPUs write the same memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sonde.bpf.map.array import ArrayMap
from sonde.bpf.map.hash import HashMap
from sonde.bpf.map.map import possible_cpus


def summed(values: Sequence[Any]) -> Any:
    """Add values of one type: numbers by value, arrays and records member by member.

    Text and bytes cannot be added: the first that is not empty stands for all.
    """
    first = values[0]
    if isinstance(first, (str, bytes)):
        return next((value for value in values if any(value)), first)
    if isinstance(first, tuple):
        return type(first)(summed(column) for column in zip(*values, strict=True))
    return sum(values)


class _PerCpu(HashMap):
    per_cpu = True

    def decode_value(self, raw: bytes | memoryview) -> list[Any]:
        step = self.stride_bytes // possible_cpus()
        decode, size = self.value_codec.decode, self.value_size
        return [decode(raw[at : at + size]) for at in range(0, self.stride_bytes, step)]

    def encode_value(self, value: Any) -> bytes:
        if not isinstance(value, Sequence) or len(value) != possible_cpus():
            raise ValueError(
                f"write map {self.name}: a value is a list with one entry for each of {possible_cpus()} CPUs"
            )
        step = self.stride_bytes // possible_cpus()
        return b"".join(self.value_codec.encode(one).ljust(step, b"\0") for one in value)

    def total(self, key: Any) -> Any:
        """Add the values of all CPUs, member by member; raises KeyError."""
        return summed(self[key])

    def totals(self) -> dict[Any, Any]:
        """Add the values of all CPUs, for every key."""
        return {key: summed(values) for key, values in self.items()}


class PerCpuHashMap(_PerCpu):
    """A per-CPU hash (or LRU hash): values are lists over all possible CPUs; ``total`` adds them."""


class PerCpuArrayMap(_PerCpu, ArrayMap):
    """A per-CPU array: values are lists over all possible CPUs; ``total`` adds them."""
