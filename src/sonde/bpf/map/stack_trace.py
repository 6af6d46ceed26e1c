"""Stack traces, which programs keep by number."""

from __future__ import annotations

import struct
from typing import Any

from sonde.bpf.map.hash import HashMap

BPF_F_STACK_BUILD_ID = 1 << 5


class StackTraceMap(HashMap):
    """Stacks, as a dictionary from their number (what bpf_get_stackid gave) to addresses, the innermost first.

    Python may read and delete, not write. With BPF_F_STACK_BUILD_ID a stack is bytes: ``struct bpf_stack_build_id[]``.
    """

    def encode_key(self, key: Any) -> bytes:
        return int(key).to_bytes(4, "little")

    def decode_key(self, raw: bytes | memoryview) -> int:
        return int.from_bytes(raw, "little")

    def decode_value(self, raw: bytes | memoryview) -> tuple[int, ...] | bytes:
        if self.shape.flags & BPF_F_STACK_BUILD_ID:
            return bytes(raw)
        # The kernel fills what a shorter stack leaves over with zeros.
        addresses = struct.unpack(f"={len(raw) // 8}Q", raw)
        return addresses[: addresses.index(0)] if 0 in addresses else addresses
