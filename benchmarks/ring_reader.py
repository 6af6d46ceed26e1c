"""Read the records of stream.bpf.c into NumPy until Ctrl-C, then say how many came, and how many were lost.

``python -m benchmarks.ring_reader OBJECT [--ready-fd N]``: what a program that uses the library looks like.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, cast

from sonde.bpf import ObjectSpec, RingBuffer
from sonde.records.layout import record_of

TICK_S = 0.01


def main() -> None:
    """Run from the command line."""
    path, ready = sys.argv[1], int(sys.argv[-1]) if "--ready-fd" in sys.argv else None
    delivered = last_ns = 0
    with open(path, "rb") as file, ObjectSpec.open(file.read(), name="stream") as spec, spec.load() as loaded:
        assert loaded.btf is not None
        with RingBuffer(loaded.maps["ring"], record=record_of(loaded.btf, "ring")) as ring:
            loaded.attach_all()
            if ready is not None:
                os.write(ready, b".")
            try:
                while True:
                    while len(batch := ring.drain()):
                        delivered += len(batch)
                        last_ns = int(cast(Any, batch)["time_ns"].max())
                    time.sleep(TICK_S)
            except KeyboardInterrupt:
                for link in loaded.links:
                    link.close()
                while len(batch := ring.drain()):
                    delivered += len(batch)
        seen, lost = int(loaded.variables["seen"].value), int(loaded.variables["lost"].value)
    print(json.dumps({"delivered": delivered, "seen": seen, "lost": lost, "last_ns": last_ns}))


if __name__ == "__main__":
    main()
