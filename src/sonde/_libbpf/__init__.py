"""libbpf as cffi sees it: ``ffi`` and ``lib``; every call through ``lib`` releases the GIL."""

from __future__ import annotations

from sonde._libbpf._native import ffi, lib

__all__ = ["ffi", "lib"]
