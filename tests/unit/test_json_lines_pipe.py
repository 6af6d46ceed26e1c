"""JSON lines into a pipe: its reader may go away, stop, and read again."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from made_lines import PATIENCE_S, balanced, batch, until
from sonde.exporters.json_lines import JsonLinesExporter, JsonLinesSettings


def test_a_reader_that_has_gone_away_is_told(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    made = JsonLinesExporter(JsonLinesSettings(str(fifo)))
    os.close(reader)
    made.log(batch(3))
    until(lambda: bool(made.status().failures))
    made.close(timeout_s=PATIENCE_S)

    assert {"EPIPE": 3} == made.status().records_dropped


def test_a_pipe_that_is_read_again_has_every_line_once(tmp_path: Path) -> None:
    """What it took before it was full is not written again; meanwhile it is told that nobody reads."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    made = JsonLinesExporter(JsonLinesSettings(str(fifo)))
    os.set_blocking(made._file._fd, True)
    made.log(batch(2_003))
    until(lambda: "nobody reads it" in made.status().problem)
    os.set_blocking(reader, True)
    with os.fdopen(reader) as lines:
        closing = threading.Thread(target=made.close, kwargs={"timeout_s": PATIENCE_S})
        closing.start()
        found = [json.loads(line) for line in lines]
        closing.join()

    assert len(found) == made.status().records_delivered == 2_003
    assert made.status().records_dropped == {}


def test_a_reader_that_hangs_delays_nobody(tmp_path: Path) -> None:
    """``log`` and ``close`` return; what was not taken is counted."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    made = JsonLinesExporter(JsonLinesSettings(str(fifo)))
    made.log(batch(20_011))
    made.close(timeout_s=0.2)
    status = made.status()
    os.close(reader)

    assert {"not written before the end": 20_011 - status.records_delivered} == status.records_dropped
    assert balanced(status)
