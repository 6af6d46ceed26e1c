"""How much a test does: all of it on a machine, a part in a virtual machine, whose emulated processor is 20 times as slow.

Only for how often something is tried that is the same each time, or user space alone; never for what is proved.
"""

from __future__ import annotations

import os


def effort(machine: int, *, emulated: int) -> int:
    """Give the number for where this runs."""
    return emulated if "SONDE_VM_KERNEL" in os.environ else machine
