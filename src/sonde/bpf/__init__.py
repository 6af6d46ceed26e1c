"""The kernel's nouns: objects, programs, maps, links, ring buffers, BTF; no policy, no probe."""

from __future__ import annotations

from sonde.bpf.btf import Btf
from sonde.bpf.handle import ObjectHandle
from sonde.bpf.link import Hook, Link
from sonde.bpf.map import Map
from sonde.bpf.object import Object, ObjectSpec
from sonde.bpf.perfbuf import PerfBuffer
from sonde.bpf.program import Program, RunStatistics
from sonde.bpf.ringbuf import Records, RingBuffer
from sonde.bpf.userring import UserRingBuffer

__all__ = [
    "Btf",
    "Hook",
    "Link",
    "Map",
    "Object",
    "ObjectHandle",
    "ObjectSpec",
    "PerfBuffer",
    "Program",
    "Records",
    "RingBuffer",
    "RunStatistics",
    "UserRingBuffer",
]
