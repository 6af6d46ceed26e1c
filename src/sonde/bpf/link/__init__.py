"""Hooks, one file each: the values that say where a program attaches, and the links that they give.

Import a hook from its file, or any of them from ``sonde.bpf.hooks``: all together take 40 ms, which a run that
attaches one program need not pay.
"""

from __future__ import annotations

from sonde.bpf.link.hook import Hook
from sonde.bpf.link.link import Link

__all__ = ["Hook", "Link"]
