"""What a capture says of itself: where and when it was made, and what its columns mean."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from sonde.records.capture.kind import BOOL, TEXT, TIME, Kind
from sonde.records.capture.stacks import FRAME_KINDS, NUMBER, NUMBER_KIND
from sonde.records.frames import COLUMNS
from sonde.records.metrics import Metric
from sonde.records.model import Column, Schema
from sonde.version import VERSION

FORMAT_PLAIN, FORMAT = 1, 2
"""Rises when an older sonde could not read what a newer one writes: 2 where there are stacks, written once (stacks.py)."""

KEY = "sonde"
"""The key of the Arrow schema's metadata that holds the header."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")
_ENVELOPE = frozenset({"output", "time", "scale", "accounting", "checksum"})


class ColumnHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column: its name, its meaning (a C typedef), whether it is part of the key, and what it is."""

    name: str
    kind: Kind
    meaning: str = ""
    is_key: bool = False


class OutputHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """One output: ``shown`` are the columns that a person wants, ``sort`` the first of them to order by.
    Machines get ``details``, too.

    ``request`` and ``filtered`` say what was asked for, and why events were left out, as a view writes it.
    ``weight`` is the column that a profile adds up, of rows of stacks; ``frequency_hz`` how often they were sampled on each
    CPU, 0 where they were not. ``frames`` names the companion that has the stacks, and ``of`` a companion's output.
    """

    name: str
    is_stream: bool
    columns: tuple[ColumnHeader, ...]
    summary: str = ""
    shown: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    sort: str = ""
    knobs: dict[str, Any] = {}
    request: str = ""
    filtered: str = ""
    every_s: float = 0.0
    metrics: tuple[Metric, ...] = ()
    weight: str = ""
    frequency_hz: float = 0.0
    frames: str = ""
    of: str = ""

    @property
    def kinds(self) -> dict[str, Kind]:
        """Give the columns as they are in the file: a stack's number in the place of its texts."""
        found = {column.name: column.kind for column in self.columns}
        if self.frames:
            found = {name: kind for name, kind in found.items() if name not in COLUMNS}
            found[NUMBER] = NUMBER_KIND
        return found

    @property
    def companion(self) -> OutputHeader:
        """Describe the output that has this one's stacks."""
        columns = tuple(ColumnHeader(name, kind) for name, kind in FRAME_KINDS.items())
        return OutputHeader(self.frames, True, columns, "the frames of its stacks", of=self.name)

    @property
    def schema(self) -> Schema:
        """Give the columns as those of a batch."""
        return Schema(self.name, tuple(Column(each.name, each.meaning, each.is_key) for each in self.columns))

    def is_sound(self) -> bool:
        """Tell whether its parts fit together."""
        kinds = {each.name: each.kind for each in self.columns}
        words = [self.name, *kinds]
        return (
            all(map(_NAME.fullmatch, words))
            and self.name not in _ENVELOPE
            and 0 < len(kinds) == len(self.columns)
            and all(kind.is_valid for kind in kinds.values())
            and {*self.shown, *self.details} <= set(kinds)
            and (self.is_stream or self.sort in kinds)
            and (not self.weight or self.weight in kinds)
            and 0 <= self.frequency_hz < 1e9
            and (not self.frames or all(kinds.get(name) == Kind(TEXT) for name in COLUMNS))
            and kinds.get("is_other", Kind(BOOL)) == Kind(BOOL)
            and kinds.get("time", Kind(TIME)) == Kind(TIME)
            and kinds.get("comm", Kind(TEXT)) == Kind(TEXT)
        )


class Header(msgspec.Struct, frozen=True):
    """The machine, the moment, the outputs.

    ``clocks`` say when the capture began, by three clocks in nanoseconds: columns of the meaning ``sonde_time_ns_t`` are
    readings of CLOCK_MONOTONIC, ``sonde_boottime_ns_t`` of CLOCK_BOOTTIME; ``time`` is CLOCK_REALTIME.
    """

    sonde: str
    kernel: str
    machine: str
    host: str
    boot_id: str
    clocks: dict[str, int]
    outputs: tuple[OutputHeader, ...]
    format: int = FORMAT_PLAIN

    def output(self, name: str) -> OutputHeader:
        """Find an output; raises KeyError."""
        return {output.name: output for output in self.outputs}[name]

    @property
    def shown(self) -> tuple[OutputHeader, ...]:
        """Give the outputs that a person knows of, without companions."""
        return tuple(output for output in self.outputs if not output.of)

    def is_sound(self) -> bool:
        """Tell whether its parts fit together."""
        named = {output.name: output for output in self.outputs}
        companions = {output.frames: output.companion for output in self.outputs if output.frames}
        return (
            0 < len(named) == len(self.outputs)
            and all(output.is_sound() for output in self.outputs)
            and companions == {name: output for name, output in named.items() if output.of}
        )


def clocks_now() -> dict[str, int]:
    """Read the clocks of a header."""
    return {
        "realtime_ns": time.time_ns(),
        "monotonic_ns": time.clock_gettime_ns(time.CLOCK_MONOTONIC),
        "boottime_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    }


def header_here(outputs: tuple[OutputHeader, ...], clocks: dict[str, int] | None = None) -> Header:
    """Make the header of a capture on this machine that begins now, or began at ``clocks``; companions are added."""
    companions = tuple(output.companion for output in outputs if output.frames)
    system = os.uname()
    return Header(
        sonde=VERSION,
        kernel=system.release,
        machine=system.machine,
        host=system.nodename,
        boot_id=_boot_id(),
        clocks=clocks or clocks_now(),
        outputs=(*outputs, *companions),
        format=FORMAT if companions else FORMAT_PLAIN,
    )


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def columns_of(schema: Schema, kinds: Mapping[str, Kind]) -> tuple[ColumnHeader, ...]:
    """Describe the columns of a batch."""
    return tuple(
        ColumnHeader(column.name, kinds[column.name], column.meaning, column.is_key)
        for column in schema.columns
    )
