"""Hooks, one file each: the values that say where a program attaches, and the links that they give.

Here are those that most runs need; ``sonde.bpf.hooks`` has them all. Importing every one takes 40 ms, which a run
that attaches one program need not pay.
"""

from __future__ import annotations

from sonde.bpf.link.hook import Hook
from sonde.bpf.link.link import Link
from sonde.bpf.link.raw_tracepoint import RawTracepoint
from sonde.bpf.link.section import Section
from sonde.bpf.link.tp_btf import TpBtf
from sonde.bpf.link.tracepoint import Tracepoint

__all__ = ["Hook", "Link", "RawTracepoint", "Section", "TpBtf", "Tracepoint"]
