"""The cffi description of the extension `sonde._libbpf._native`: libbpf and our C file, in API mode.

Used when the package is built, never when it runs.
"""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent

INCLUDES = """
#include <stdint.h>
#include <linux/bpf.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include "native.h"
"""


def declare() -> FFI:
    """The declarations of every area under decl/, types.h first, ready to be written as C."""
    ffi = FFI()
    types = HERE / "decl" / "types.h"
    others = sorted(set(types.parent.glob("*.h")) - {types})
    for area in [types, *others]:
        ffi.cdef(area.read_text())
    ffi.set_source("sonde._libbpf._native", INCLUDES, py_limited_api=True)
    return ffi
