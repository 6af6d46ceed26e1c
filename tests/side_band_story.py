"""Records of a side band, told one after the other, and the address spaces that follow from them."""

from __future__ import annotations

import numpy as np

from sonde.bpf.side_band import MAP, MappedPath, SideBandRecords, event_dtype
from sonde.enrich.address_spaces import AddressSpaces

LIBC, SHELL, TOOL = (MappedPath(path, 64, number) for number, path in enumerate(("/libc", "/sh", "/tool"), 1))


class Story:
    """Records as they are told: each has the next time."""

    def __init__(self) -> None:
        self.events: list[tuple[int, ...]] = []
        self.files: dict[MappedPath, int] = {}
        self.now = 0

    def tell(self, kind: int, pid: int, *, parent: int = 0) -> int:
        self.now += 10
        self.events.append((self.now, 0, 0, 0, pid, parent, 0, kind))
        return self.now

    def map(self, pid: int, start: int, end: int, file: MappedPath = TOOL, *, offset: int = 0) -> int:
        self.now += 10
        number = self.files.setdefault(file, len(self.files))
        self.events.append((self.now, start, end, offset, pid, 0, number, MAP))
        return self.now

    def records(self) -> SideBandRecords:
        found = SideBandRecords(np.array(self.events, event_dtype()), tuple(self.files))
        self.events = []
        return found


def spaces_of(story: Story) -> AddressSpaces:
    spaces = AddressSpaces(read=lambda _: None)
    spaces.take(story.records())
    return spaces


def at(spaces: AddressSpaces, pid: int, time_ns: int, *addresses: int) -> list[tuple[str, int] | None]:
    mappings = spaces.at(pid, time_ns)
    if mappings is None:
        return [None] * len(addresses)
    spans, offsets = mappings.find(np.array(addresses, np.uint64))
    pairs = zip(spans.tolist(), offsets.tolist(), strict=True)
    return [(mappings.spans[span].file.path, offset) if span >= 0 else None for span, offset in pairs]
