"""Every hook in one place: ``from sonde.bpf.hooks import Kprobe, Xdp, hook_from_text``."""

from __future__ import annotations

from sonde.bpf.link.catalogue import hook_examples, hook_from_text, hook_kinds
from sonde.bpf.link.cgroup import Cgroup
from sonde.bpf.link.fentry import Fentry
from sonde.bpf.link.hook import Hook
from sonde.bpf.link.iterator import Iterator, IteratorLink
from sonde.bpf.link.kprobe import Kprobe
from sonde.bpf.link.kprobe_multi import KprobeMulti
from sonde.bpf.link.link import Link
from sonde.bpf.link.lsm import Lsm
from sonde.bpf.link.perf_event import PerfEvent
from sonde.bpf.link.raw_tracepoint import RawTracepoint
from sonde.bpf.link.section import Section
from sonde.bpf.link.tc import Tc, TcLink
from sonde.bpf.link.tp_btf import TpBtf
from sonde.bpf.link.tracepoint import Tracepoint
from sonde.bpf.link.uprobe import Uprobe
from sonde.bpf.link.uprobe_multi import UprobeMulti
from sonde.bpf.link.usdt import Usdt
from sonde.bpf.link.xdp import Xdp, XdpLink

__all__ = [
    "Cgroup",
    "Fentry",
    "Hook",
    "Iterator",
    "IteratorLink",
    "Kprobe",
    "KprobeMulti",
    "Link",
    "Lsm",
    "PerfEvent",
    "RawTracepoint",
    "Section",
    "Tc",
    "TcLink",
    "TpBtf",
    "Tracepoint",
    "Uprobe",
    "UprobeMulti",
    "Usdt",
    "Xdp",
    "XdpLink",
    "hook_examples",
    "hook_from_text",
    "hook_kinds",
]
