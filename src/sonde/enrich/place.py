"""Where processes run, in a word for people: the container, the unit, or the cgroup that is neither."""

from __future__ import annotations

from sonde.enrich.container import container_of
from sonde.enrich.each import TEXT, each_once
from sonde.enrich.unit import unit_of
from sonde.records.model import RecordBatch

ID_DIGITS = 12
"""As many of a container's id as people use."""


def place_of(path: str) -> str:
    """Name the place of a cgroup."""
    return container_of(path).id[:ID_DIGITS] or unit_of(path).stable or path


def with_place(batch: RecordBatch) -> RecordBatch:
    """Add ``place``; from the column ``cgroup``."""
    return batch.adding({"place": each_once(batch["cgroup"], place_of)}, meanings={"place": TEXT})
