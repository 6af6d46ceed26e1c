"""A program of its own: debug information (DWARF) from one descriptor → a symcache to another.

It takes two numbers of descriptors, and nothing of sonde's. So neither the memory that it takes (ten times its
result's size) nor a file that kills its reader is a profile's business.
"""

from __future__ import annotations

import resource
import sys

ADDRESS_SPACE_BYTES = 8 << 30
TIME_S = 60


def main(source: int, target: int) -> int:
    """Convert; 0 where there is a symcache."""
    with open("/proc/self/comm", "w") as comm:
        # A profile shows it, too: so that nobody wonders whose it is.
        comm.write("sonde-symbols")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (TIME_S, TIME_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from symbolic.debuginfo import Archive

    archive = Archive.open(f"/proc/self/fd/{source}")
    for each in archive.iter_objects():
        with open(target, "wb", closefd=False) as file:
            each.make_symcache().dump_into(file)  # type: ignore[no-untyped-call]
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
