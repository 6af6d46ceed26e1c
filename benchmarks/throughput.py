"""How fast records and entries come into NumPy."""

from __future__ import annotations

import statistics
import time

import numpy as np

from benchmarks.contenders import floors
from sonde.bpf import RingBuffer
from sonde.records.layout import record_of

ENTRIES = 100_003


def ring_records_per_s(*, rounds: int) -> float:
    """Fill a ring of 16 MB with records of 16 bytes, time only the draining; the median over the rounds."""
    with floors.loaded("fill_ring") as loaded:
        assert loaded.btf is not None
        record = record_of(loaded.btf, "ring")
        rates = []
        with RingBuffer(loaded.maps["ring"], record=record) as ring:
            for _ in range(rounds):
                written = sum(loaded.programs["fill_ring"].test_run().return_value for _ in range(150))
                begun, drained = time.perf_counter(), 0
                while len(batch := ring.drain()):
                    drained += len(batch)
                rates.append(drained / (time.perf_counter() - begun))
                assert written == drained, (written, drained)
    return statistics.median(rates)


def hash_entries_per_s(*, rounds: int) -> float:
    """Read a hash of 16-byte keys and 8-byte values into arrays; the median over the rounds."""
    with floors.loaded() as loaded:
        table = loaded.maps["table"]
        keys = np.zeros(ENTRIES, table.key_dtype)
        keys["pid"] = np.arange(ENTRIES)
        table.update_many(keys, np.arange(ENTRIES, dtype=np.uint64))
        rates = []
        for _ in range(rounds):
            begun = time.perf_counter()
            found, values = table.to_numpy()
            rates.append(len(found) / (time.perf_counter() - begun))
            assert int(values.sum()) == ENTRIES * (ENTRIES - 1) // 2
    return statistics.median(rates)
