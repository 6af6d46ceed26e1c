"""The kernel's nouns: objects, programs, maps, links, ring buffers, BTF; no policy, no probe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonde.homes import asked_for

if TYPE_CHECKING:
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

# Who reads maps needs no objects, and the agent's process neither.
__getattr__, __dir__ = asked_for(
    __name__,
    {
        "Btf": "sonde.bpf.btf",
        "Hook": "sonde.bpf.link",
        "Link": "sonde.bpf.link",
        "Map": "sonde.bpf.map",
        "Object": "sonde.bpf.object",
        "ObjectHandle": "sonde.bpf.handle",
        "ObjectSpec": "sonde.bpf.object",
        "PerfBuffer": "sonde.bpf.perfbuf",
        "Program": "sonde.bpf.program",
        "Records": "sonde.bpf.ringbuf",
        "RingBuffer": "sonde.bpf.ringbuf",
        "RunStatistics": "sonde.bpf.program",
        "UserRingBuffer": "sonde.bpf.userring",
    },
)
