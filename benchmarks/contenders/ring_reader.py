"""Read the records of stream.bpf.c into NumPy until Ctrl-C, then say how many came, and how many were lost.

``python -m benchmarks.contenders.ring_reader OBJECT [--ring-bytes N] [--ready-fd N]``: what a program that uses the library looks like.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from sonde.bpf import ObjectSpec, RingBuffer
from sonde.records.layout import record_of

TICK_S = 0.01


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("object")
    parser.add_argument("--ring-bytes", type=int, default=16 << 20)
    parser.add_argument("--ready-fd", type=int)
    asked = parser.parse_args()
    delivered = last_ns = 0
    with ExitStack() as stack:
        spec = stack.enter_context(ObjectSpec.open(Path(asked.object).read_bytes(), name="stream"))
        spec.maps["ring"].max_entries = asked.ring_bytes
        loaded = stack.enter_context(spec.load())
        assert loaded.btf is not None
        with RingBuffer(loaded.maps["ring"], record=record_of(loaded.btf, "ring")) as ring:
            loaded.attach_all()
            if asked.ready_fd is not None:
                os.write(asked.ready_fd, b".")
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
