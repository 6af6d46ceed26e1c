"""What the addresses of processes are: places in files, in the vDSO, or in code that was compiled while they ran."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from sonde.enrich.symbols.binaries import Binaries
from sonde.enrich.symbols.binary import Binary, unknown
from sonde.enrich.symbols.compiled_names import MEMORY_FILE, CompiledNames, is_memory
from sonde.enrich.symbols.perf_map import named
from sonde.enrich.symbols.thread_roots import is_thread_begin, is_thread_root
from sonde.enrich.symbols.vdso import VDSO, in_vdso
from sonde.records.frames import INTERPRETED, NATIVE, UNKNOWN, Frame, Written, written

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.bpf.side_band import MappedPath
    from sonde.enrich.address_space import Mappings
    from sonde.enrich.address_spaces import AddressSpaces

    Array = npt.NDArray[Any]

PLACES_MAX = 65_536
"""So many places in files are remembered by their frames."""
JIT_MODULE, PYTHON_MODULE = "[jit]", "[python]"
InFiles = Mapping["MappedPath", Mapping[int, "Place"]]
"""What places are, by file and offset."""


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
        # By what was read, not by path: a file may be another one tomorrow under the same name and inode.
        self._known: WeakKeyDictionary[Binary, dict[int, Place]] = WeakKeyDictionary()
        self._in_vdso: dict[int, Place] = {}
        self._compiled = CompiledNames(spaces)

    def of(self, asked: Sequence[Asked]) -> list[list[Place | None]]:
        """Give a place for each address; None where nothing is mapped."""
        found = [each.mappings.find(each.addresses) for each in asked]
        spans = [numbers.tolist() for numbers, _ in found]
        offsets = [places.tolist() for _, places in found]
        in_files = self._in_files(asked, spans, offsets)
        return [
            list(self._places_of(each, numbers, places, in_files))
            for each, numbers, places in zip(asked, spans, offsets, strict=True)
        ]

    def _places_of(
        self, asked: Asked, spans: Sequence[int], offsets: Sequence[int], in_files: InFiles
    ) -> Iterator[Place | None]:
        of_memory = self._of_memory(asked, spans)
        mapped = asked.mappings.spans
        known = {span: in_files.get(mapped[span].file) for span in set(spans) if span >= 0}
        addresses = asked.addresses.tolist()
        for address, span, offset in zip(addresses, spans, offsets, strict=True):
            if span < 0:
                yield None
            else:
                in_file = known[span]
                yield in_file[offset] if in_file is not None else of_memory[address]

    # ---- files ------------------------------------------------------------------------------------------------

    def _in_files(
        self, asked: Sequence[Asked], spans: Sequence[Sequence[int]], offsets: Sequence[Sequence[int]]
    ) -> InFiles:
        """Tell what places in files are, file by file."""
        where: dict[MappedPath, tuple[Asked, int]] = {}
        different: dict[MappedPath, set[int]] = {}
        for each, numbers, places in zip(asked, spans, offsets, strict=True):
            by_span: dict[int, set[int]] = {}
            for span, offset in zip(numbers, places, strict=True):
                by_span.setdefault(span, set()).add(offset)
            for span, some in by_span.items():
                if self._is_file(each, span):
                    file = each.mappings.spans[span].file
                    different.setdefault(file, set()).update(some)
                    where.setdefault(file, (each, span))
        if sum(map(len, self._known.values())) > PLACES_MAX:
            self._known.clear()
        # All first: what has to be converted is, several at a time.
        binaries = {file: self._binary(file, *where[file]) for file in different if file.inode}
        return {
            file: self._in_file(file, offsets, binaries.get(file), where[file])
            for file, offsets in different.items()
        }

    def _is_file(self, asked: Asked, span: int) -> bool:
        """Tell whether code comes from a file, or from the kernel, and not from a compiler in the process."""
        if span < 0:
            return False
        file = asked.mappings.spans[span].file
        # A program may also be run out of memory (fexecve).
        return not is_memory(file.path) or (
            file.path.startswith(MEMORY_FILE) and self._binary(file, asked, span) is not None
        )

    def _binary(self, file: MappedPath, asked: Asked, span: int) -> Binary | None:
        mapped, lineage = asked.mappings.spans[span], self._spaces.lineage(asked.pid)
        return self._binaries.of(file, pids=lineage, start=mapped.start, end=mapped.end)

    def _in_file(
        self, file: MappedPath, offsets: set[int], binary: Binary | None, where: tuple[Asked, int]
    ) -> Mapping[int, Place]:
        if binary is not None:
            return _learn(self._known.setdefault(binary, {}), offsets, binary.frames)
        asked, span = where
        # A 32-bit program has another vDSO, and it lies where such a program can reach it.
        if file.path == VDSO and asked.mappings.spans[span].end > 1 << 32:
            return _learn(self._in_vdso, offsets, in_vdso)
        return dict.fromkeys(offsets, _place([unknown(file.path)]))

    # ---- memory -----------------------------------------------------------------------------------------------

    def _of_memory(self, asked: Asked, spans: Sequence[int]) -> dict[int, Place]:
        """Name the addresses in memory without a file, by the process's own list of what it has compiled."""
        import numpy as np

        of_memory = {span for span in set(spans) if span >= 0 and not self._is_file(asked, span)}
        where = zip(asked.addresses.tolist(), spans, strict=True)
        in_memory = sorted({at for at, span in where if span in of_memory}) if of_memory else []
        if not in_memory:
            return {}
        names = self._compiled.of(asked.pid, asked.mappings, np.array(in_memory, np.uint64))
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


def _learn(
    known: dict[int, Place], offsets: set[int], frames_of: Callable[[Array], Sequence[tuple[Frame, ...]]]
) -> dict[int, Place]:
    """Add what places in a file are that nobody has asked for before."""
    import numpy as np

    new = np.array(sorted(offsets - known.keys()), np.uint64)
    if len(new):
        known.update(zip(new.tolist(), map(_place, frames_of(new)), strict=True))
    return known


NOWHERE = Place(written([unknown("")]), "", is_final=False)
UNNAMED = Place(written([Frame("[jit]", UNKNOWN, JIT_MODULE)]), JIT_MODULE, is_final=False)
