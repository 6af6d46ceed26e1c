"""JSON lines on a disk that is full, and has room again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kernel.places import small_disk
from sonde.exporters.json_lines import JsonLinesExporter, JsonLinesSettings
from sonde.records.model import Column, RecordBatch, Schema

# The disk and the exporter are the same on every kernel.
pytestmark = pytest.mark.host_only

PATIENCE_S = 60


def records(first: int, count: int) -> RecordBatch:
    schema = Schema("test.records", (Column("number"),))
    return RecordBatch(schema, {"number": np.arange(first, first + count)}, time_ns=time.time_ns())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_a_full_disk_held_up_is_written_when_there_is_room_and_the_rest_is_counted(
    tmp_path: Path,
) -> None:
    """A real file system says ENOSPC; half lines are taken back, whole ones wait, and nothing is there twice."""
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        (disk / "ballast").write_bytes(bytes(900_000))
        made = JsonLinesExporter(JsonLinesSettings(str(disk / "out.jsonl"), queue_max=5_000))
        for first in range(0, 10_000, 1_000):
            made.log(records(first, 1_000))
        until(lambda: bool(made.status().failures))
        made.log(records(10_000, 5_000))
        during = made.status()
        (disk / "ballast").unlink()
        until(lambda: made.status().records_waiting == 0)
        made.log(records(20_000, 101))
        made.close(timeout_s=PATIENCE_S)
        status = made.status()
        numbers = [
            json.loads(line)["attributes"]["number"]
            for line in (disk / "out.jsonl").read_bytes().splitlines()
        ]

    assert not during.is_healthy
    assert "no space left on device (ENOSPC)" in during.problem
    assert during.records_dropped["ENOSPC"] >= 5_000
    assert sorted(set(numbers)) == numbers
    assert len(numbers) == status.records_delivered
    assert status.records_offered == status.records_delivered + sum(status.records_dropped.values())
    assert list(range(20_000, 20_101)) == numbers[-101:]
