"""What the addresses of processes are: places in files, in the vDSO, or in code that was compiled while they ran."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sonde.enrich.symbols.binaries import Binaries
from sonde.enrich.symbols.binary import unknown
from sonde.enrich.symbols.elf import addresses_of
from sonde.enrich.symbols.perf_map import PerfMap, named, perf_map_of
from sonde.enrich.symbols.thread_roots import is_thread_begin, is_thread_root
from sonde.enrich.symbols.vdso import VDSO, vdso
from sonde.records.frames import INTERPRETED, NATIVE, UNKNOWN, Frame, Written, written

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.bpf.side_band import MappedPath
    from sonde.enrich.address_space import AddressSpaces, Mappings

    Array = npt.NDArray[Any]

PLACES_MAX = 65_536
"""So many places in files are remembered by their frames."""
PERF_MAPS_MAX = 64
JIT_MODULE, PYTHON_MODULE = "[jit]", "[python]"
JIT_FILES = ("/memfd:", "/dev/zero", "/SYSV", "/dev/shm/")
"""Memory that code is compiled into may look like a file."""


class Place(NamedTuple):
    """What one address is: its frames, written; whether a stack may end, or a thread begin there; whether it stays so."""

    written: Written
    module: str
    is_root: bool = False
    is_begin: bool = False
    is_final: bool = True


class Asked(NamedTuple):
    """Addresses of one process, in one state of its address space."""

    pid: int
    mappings: Mappings
    addresses: Array


class Places:
    """Tells what addresses are: all of one file at a time, and each once for each file."""

    def __init__(self, spaces: AddressSpaces, binaries: Binaries) -> None:
        self._spaces, self._binaries = spaces, binaries
        self._places: dict[tuple[MappedPath, int], Place] = {}
        self._perf_maps: OrderedDict[tuple[int, int], PerfMap] = OrderedDict()

    def of(self, asked: Sequence[Asked]) -> list[list[Place | None]]:
        """Give a place for each address; None where nothing is mapped."""
        found = [each.mappings.find(each.addresses) for each in asked]
        spans = [numbers.tolist() for numbers, _ in found]
        offsets = [places.tolist() for _, places in found]
        self._name_new(asked, spans, offsets)
        return [
            list(self._places_of(each, numbers, places))
            for each, numbers, places in zip(asked, spans, offsets, strict=True)
        ]

    def _places_of(
        self, asked: Asked, spans: Sequence[int], offsets: Sequence[int]
    ) -> Iterator[Place | None]:
        of_memory = self._of_memory(asked, spans)
        addresses = asked.addresses.tolist()
        for address, span, offset in zip(addresses, spans, offsets, strict=True):
            if span < 0:
                yield None
                continue
            file = asked.mappings.spans[span].file
            yield self._places[file, offset] if _is_file(file) else of_memory[address]

    # ---- files ------------------------------------------------------------------------------------------------

    def _name_new(
        self, asked: Sequence[Asked], spans: Sequence[Sequence[int]], offsets: Sequence[Sequence[int]]
    ) -> None:
        """Name the places in files that have no name yet, file by file."""
        import numpy as np

        if len(self._places) > PLACES_MAX:
            self._places.clear()
        where: dict[MappedPath, tuple[Asked, int]] = {}
        new: dict[MappedPath, set[int]] = {}
        for each, numbers, places in zip(asked, spans, offsets, strict=True):
            for span, offset in zip(numbers, places, strict=True):
                if span < 0:
                    continue
                file = each.mappings.spans[span].file
                if (file, offset) not in self._places and _is_file(file):
                    new.setdefault(file, set()).add(offset)
                    where.setdefault(file, (each, span))
        for file, different in new.items():
            wanted = np.array(sorted(different), np.uint64)
            frames = self._in_file(file, wanted, *where[file])
            for offset, each_frames in zip(wanted.tolist(), frames, strict=True):
                self._places[file, offset] = _place(each_frames)

    def _in_file(self, file: MappedPath, offsets: Array, asked: Asked, span: int) -> list[tuple[Frame, ...]]:
        mapped = asked.mappings.spans[span]
        # A 32-bit program has another vDSO, and it lies where such a program can reach it.
        if file.path == VDSO and mapped.end > 1 << 32:
            return _in_vdso(offsets)
        if not file.inode:
            return [(unknown(file.path),)] * len(offsets)
        lineage = self._spaces.lineage(asked.pid)
        binary = self._binaries.of(file, pids=lineage, start=mapped.start, end=mapped.end)
        return binary.frames(offsets) if binary is not None else [(unknown(file.path),)] * len(offsets)

    # ---- memory -----------------------------------------------------------------------------------------------

    def _of_memory(self, asked: Asked, spans: Sequence[int]) -> dict[int, Place]:
        """Name the addresses in memory without a file, by the process's own list of what it has compiled."""
        import numpy as np

        where = zip(asked.addresses.tolist(), spans, strict=True)
        mapped = asked.mappings.spans
        in_memory = sorted({at for at, span in where if span >= 0 and not _is_file(mapped[span].file)})
        if not in_memory:
            return {}
        program = (asked.pid, asked.mappings.begin_ns)
        if program not in self._perf_maps:
            self._perf_maps[program] = perf_map_of(self._spaces.lineage(asked.pid))
            while len(self._perf_maps) > PERF_MAPS_MAX:
                self._perf_maps.popitem(last=False)
        self._perf_maps.move_to_end(program)
        names = self._perf_maps[program].names(np.array(in_memory, np.uint64))
        return {address: _compiled(name) for address, name in zip(in_memory, names, strict=True)}


def _place(frames: Sequence[Frame]) -> Place:
    name, is_function = frames[0].name, frames[0].kind == NATIVE
    return Place(
        written(frames),
        frames[0].module,
        is_root=is_function and is_thread_root(name),
        is_begin=is_function and is_thread_begin(name),
    )


def _compiled(name: str) -> Place:
    """Make the place of code that a program has compiled; it may get its name later."""
    if not name:
        return UNNAMED
    function, file = named(name)
    module = PYTHON_MODULE if name.startswith("py::") else JIT_MODULE
    return Place(written([Frame(function, INTERPRETED, module, file)]), module)


def _in_vdso(offsets: Array) -> list[tuple[Frame, ...]]:
    own = vdso()
    if own is None:
        return [(unknown(VDSO),)] * len(offsets)
    file, functions = own
    places = functions.places(addresses_of(file.segments, offsets)).tolist()
    return [
        (Frame(functions.name(place), NATIVE, VDSO),) if place >= 0 else (unknown(VDSO),) for place in places
    ]


def _is_file(file: MappedPath) -> bool:
    """Tell whether code comes from a file, or from the kernel, and not from a compiler in the process."""
    return bool(file.path) and not file.path.startswith(JIT_FILES)


NOWHERE = Place(written([unknown("")]), "", is_final=False)
UNNAMED = Place(written([Frame("[jit]", UNKNOWN, JIT_MODULE)]), JIT_MODULE, is_final=False)
