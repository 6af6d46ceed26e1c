"""xdp-filter of xdp-tools beside ours: what it takes to have it on an interface for a while."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernel.network import Pair

ADDRESSES = 10
"""It knows single addresses, no networks, and takes one for each call of the program."""

PREPARE = "mount -t bpf bpf /sys/fs/bpf"


def why_no_xdp_filter() -> str:
    """Say why it cannot be had; "" where it can."""
    return "" if shutil.which("xdp-filter") else "xdp-filter is not installed (Debian: apt install xdp-tools)"


@contextmanager
def attached_xdp_filter(ends: Pair) -> Iterator[None]:
    """Have it at the pair's far end, with addresses that none of the packets has.

    It pins its maps in the BPF file system, of which it gets one of its own, in a mount namespace that ends with the
    shell; the program stays on the interface, and goes with that.
    """
    interface = ends.far.interface
    adding = [f"xdp-filter ip -m src 198.51.100.{number + 1}" for number in range(ADDRESSES)]
    lines = (PREPARE, f"xdp-filter load -f ipv4,ipv6 -p allow -m native {interface}", *adding)
    ends.far.run("unshare", "--mount", "sh", "-c", " && ".join(lines))
    try:
        yield
    finally:
        ends.far.ip(f"link set dev {interface} xdp off")
