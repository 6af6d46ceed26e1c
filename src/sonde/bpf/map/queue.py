"""Queues and stacks: values without keys."""

from __future__ import annotations

import errno
from typing import Any

from sonde._libbpf import ffi, lib
from sonde.bpf.map.map import BPF_ANY, BPF_EXIST, Map


class QueueMap(Map):
    """A queue: ``push`` at the end, ``pop`` at the front."""

    def push(self, value: Any, *, replace_oldest: bool = False) -> None:
        """Add a value; raises KernelError with the size when it is full, unless the oldest may go."""
        self.update_bytes(None, self.value_codec.encode(value), BPF_EXIST if replace_oldest else BPF_ANY)

    def pop(self) -> Any:
        """Take the next value; raises IndexError when there is none."""
        return self._take(lib.bpf_map_lookup_and_delete_elem)

    def peek(self) -> Any:
        """Read the next value and leave it; raises IndexError when there is none."""
        return self._take(lib.bpf_map_lookup_elem)

    def _take(self, call: Any) -> Any:
        value = ffi.new("char[]", self.value_size)
        result = call(self.fd, ffi.NULL, value)
        if result == -errno.ENOENT:
            raise IndexError(f"map {self.name} is empty")
        self._check(result, "read map")
        return self.value_codec.decode(bytes(ffi.buffer(value, self.value_size)))


class StackMap(QueueMap):
    """A stack: ``push`` and ``pop`` at the same end."""


class BloomFilterMap(Map):
    """A Bloom filter: ``push`` values, ask with ``in``; it may say yes to others, never no to one pushed. Linux 5.16."""

    def push(self, value: Any) -> None:
        """Add a value."""
        self.update_bytes(None, self.value_codec.encode(value))

    def __contains__(self, value: object) -> bool:
        raw = ffi.new("char[]", self.value_codec.encode(value))
        result = lib.bpf_map_lookup_elem(self.fd, ffi.NULL, raw)
        if result == -errno.ENOENT:
            return False
        self._check(result, "read map")
        return True
