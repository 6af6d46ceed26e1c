"""Names of code that processes have compiled while they ran, and of what they have from those that they were forked from."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from sonde.enrich.address_space import ALWAYS_NS, Mappings
from sonde.enrich.address_spaces import LINEAGE_MAX, AddressSpaces
from sonde.enrich.process_files import parent_of
from sonde.enrich.symbols.perf_map import PerfMap, perf_map_of

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

PERF_MAPS_MAX = 64

MEMORY_FILE = "/memfd:"
JIT_FILES = (MEMORY_FILE, "/dev/zero", "/SYSV", "/dev/shm/")
"""Memory that code is compiled into may look like a file."""


def is_memory(path: str) -> bool:
    """Tell whether code comes from a compiler in the process, and not from a file or the kernel."""
    return not path or path.startswith(JIT_FILES)


class CompiledNames:
    """Names addresses in memory by the lists of what was compiled there, PERF_MAPS_MAX of which are kept."""

    def __init__(self, spaces: AddressSpaces) -> None:
        self._spaces = spaces
        self._perf_maps: OrderedDict[tuple[int, int], PerfMap] = OrderedDict()

    def of(
        self, pid: int, mappings: Mappings, addresses: Array, *, generations: int = LINEAGE_MAX
    ) -> list[str]:
        """Name addresses of a process; "" where nobody has told of one.

        What a process has compiled its children have, too, when they are forked; only its own list tells of that.
        """
        names = self._perf_map(pid, mappings.begin_ns).names(addresses)
        unnamed = [at for at, name in enumerate(names) if not name]
        parent = self._forked_from(pid, mappings) if unnamed and generations else None
        if parent is not None:
            theirs = self.of(*parent, addresses[unnamed], generations=generations - 1)
            for at, name in zip(unnamed, theirs, strict=True):
                names[at] = name
        return names

    def _perf_map(self, pid: int, begin_ns: int) -> PerfMap:
        program = (pid, begin_ns)
        if program not in self._perf_maps:
            self._perf_maps[program] = perf_map_of(self._spaces.lineage(pid))
            while len(self._perf_maps) > PERF_MAPS_MAX:
                self._perf_maps.popitem(last=False)
        self._perf_maps.move_to_end(program)
        return self._perf_maps[program]

    def _forked_from(self, pid: int, mappings: Mappings) -> tuple[int, Mappings] | None:
        """Give the process whose memory this one has since it was forked, and what that had mapped; None for none."""
        begin_ns = mappings.begin_ns
        if begin_ns != ALWAYS_NS:
            lineage = self._spaces.lineage(pid)
            # A program that was begun by exec has mapped all that it has itself.
            is_inherited = any(each.since_ns < begin_ns for each in mappings.spans)
            before = self._spaces.at(lineage[1], begin_ns) if is_inherited and len(lineage) > 1 else None
            return None if before is None else (lineage[1], before)
        # It was there before us: memory at the same place tells that it was forked, and began no other program.
        parent = parent_of(pid)
        theirs = self._spaces.at(parent, begin_ns) if parent else None
        if parent is None or theirs is None or not _memory(mappings) & _memory(theirs):
            return None
        return parent, theirs


def _memory(mappings: Mappings) -> set[tuple[int, int]]:
    return {(each.start, each.end) for each in mappings.spans if is_memory(each.file.path)}
