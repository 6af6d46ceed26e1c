"""Kernel addresses → functions and their modules, by /proc/kallsyms."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from sonde.enrich.each import TEXT
from sonde.records.model import RecordBatch

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

LOG = logging.getLogger("sonde.symbols")

KERNEL_IP = "sonde_kernel_ip_t"
"""The typedef of an address in the kernel's code: probes/_include/types.bpf.h."""

KALLSYMS = "/proc/kallsyms"
ADDRESS_DIGITS = 16
CODE = b"tTwW"
"""The types of symbols that may be code (nm(1)); the others only tell where code ends."""

SIZE_MAX_BYTES = 1 << 20
"""No function is that large: what lies further behind the last symbol before it is in none."""

READ_AGAIN_S = 10.0
"""Modules and BPF programs come while we run: for a new address in none the list is read again, so often at most."""

NOWHERE_MAX = 4096
"""So many addresses in no function are remembered, for which the list is not read again."""

HIDDEN = (
    "kernel addresses are hidden from this process (kernel.kptr_restrict, kernel.perf_event_paranoid): "
    "functions are told by address; run it as root, or with CAP_SYSLOG"
)
ABSENT = (
    "/proc/kallsyms is not there (CONFIG_KALLSYMS), or not for this process (a unit's ProtectKernelTunables=): "
    "functions are told by address"
)


@dataclass(frozen=True, slots=True)
class Symbol:
    """A function of the kernel, and how far in it an address is; ``module`` is "" for the kernel's own."""

    name: str
    module: str = ""
    offset_bytes: int = 0

    @property
    def function(self) -> str:
        """Give the function in the source: the compiler makes ``NAME.constprop.0`` and ``NAME.cold`` of parts of it."""
        return self.name.partition(".")[0] or self.name

    def __str__(self) -> str:
        """Write it as the kernel does: ``udp_unicast_rcv_skb+0x52``, with `` [module]`` behind."""
        module = f" [{self.module}]" if self.module else ""
        return f"{self.name}+{self.offset_bytes:#x}{module}"


class SymbolTable:
    """The symbols of one reading, by address: an array of addresses, and the text that they were read from.

    Names are cut out of the text when they are asked for. 120,000 symbols take 7 MB, and 100 ms to read, most of
    which is the kernel's.
    """

    def __init__(self, text: bytes) -> None:
        import numpy as np

        self._text = text
        data = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero(data == ord("\n"))
        starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64) if len(ends) else ends
        addresses = _hexadecimal(data, starts)
        is_code = np.isin(data[starts + ADDRESS_DIGITS + 1], np.frombuffer(CODE, np.uint8))
        # Stable: of several names for one address the first is the kernel's choice, too.
        order = np.argsort(addresses, kind="stable")
        self._addresses, self._is_code = addresses[order], is_code[order]
        self._starts = starts[order].astype(np.uint32)

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def is_hidden(self) -> bool:
        """Tell whether the kernel gave zeros in place of addresses."""
        return not self._addresses.any()

    def places(self, addresses: Array) -> Array:
        """Give the number of the symbol that each address is in, -1 for none."""
        import numpy as np

        wanted = np.asarray(addresses, np.uint64)
        if self.is_hidden or not len(wanted):
            return np.full(len(wanted), -1, np.int64)
        before = np.searchsorted(self._addresses, wanted, side="right") - 1
        nearest = self._addresses[np.maximum(before, 0)]
        first = np.searchsorted(self._addresses, nearest, side="left")
        found = self._first_code(first, before)
        is_in = (before >= 0) & (found >= 0) & (wanted - nearest < SIZE_MAX_BYTES)
        return np.where(is_in, found, -1)

    def _first_code(self, first: Array, last: Array) -> Array:
        """Give the first symbol of code of those from first to last, which have one address; -1 where none is code."""
        import numpy as np

        found = np.full(len(first), -1, np.int64)
        for step in range(int((last - first).max()) + 1):
            at = np.minimum(first + step, np.maximum(last, 0))
            found = np.where((found < 0) & self._is_code[at], at, found)
        return found

    def symbol(self, place: int, address: int) -> Symbol:
        """Name what ``places`` found."""
        start = int(self._starts[place]) + ADDRESS_DIGITS + 3
        line = self._text[start : self._text.index(b"\n", start)].decode("utf-8", "replace")
        name, _, module = line.partition("\t")
        return Symbol(name, module.strip("[]"), address - int(self._addresses[place]))

    def address(self, name: str, module: str = "") -> int:
        """Find the address of a function by its name; raises KeyError. It searches the text: for tests and tools."""
        for kind in CODE.decode():
            line = f" {kind} {name}\t[{module}]\n" if module else f" {kind} {name}\n"
            at = self._text.find(line.encode())
            if at >= 0:
                return int(self._text[at - ADDRESS_DIGITS : at], 16)
        raise KeyError(name)


def _hexadecimal(data: Array, starts: Array) -> Array:
    """Read the 16 digits that begin at each start."""
    import numpy as np

    values = np.zeros(len(starts), np.uint64)
    for digit in range(ADDRESS_DIGITS):
        letters = data[starts + digit]
        # "0" to "9" are 0x30 to 0x39, "a" to "f" 0x61 to 0x66.
        values = values << np.uint64(4) | ((letters & 0xF) + np.where(letters > 0x39, 9, 0)).astype(np.uint64)
    return values


def _open_list() -> IO[bytes]:
    return open(KALLSYMS, "rb", buffering=0)


class KernelSymbols:
    """The running kernel's functions; read when the first address is looked up.

    ``open_list`` opens what is read, and the file stays open: the kernel shows addresses to whoever opened it, so a
    process that is about to give up its privileges calls ``open`` before. May be used by several threads.
    """

    def __init__(
        self,
        open_list: Callable[[], IO[bytes]] = _open_list,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_list, self._clock_s = open_list, clock_s
        self._file: IO[bytes] | None = None
        self._table: SymbolTable | None = None
        self._read_at = 0.0
        self._nowhere: set[int] = set()
        self._lock = threading.Lock()
        self._is_absent = self._has_said = False

    def open(self) -> None:
        """Open the list, which decides what this process is shown of it; again is fine."""
        if self._file is None and not self._is_absent:
            try:
                self._file = self._open_list()
            except (FileNotFoundError, PermissionError):
                # ProtectKernelTunables= of a systemd unit lets nobody open it.
                self._is_absent = True

    def close(self) -> None:
        """Close the list, and forget it."""
        if self._file is not None:
            self._file.close()
        self._file = self._table = None

    @property
    def missing(self) -> str:
        """Say why functions cannot be named, and what would help; "" where they can. Reads the list."""
        with self._lock:
            table = self._read()
            return ABSENT if self._is_absent else HIDDEN if table.is_hidden else ""

    def of(self, addresses: Array) -> list[Symbol | None]:
        """Name the functions that addresses are in; None where one is in none, or where the kernel hides them."""
        numbers = addresses.tolist()
        with self._lock:
            table = self._read()
            if not len(table) or table.is_hidden:
                self._say(ABSENT if self._is_absent else HIDDEN)
            places = table.places(addresses).tolist()
            if not table.is_hidden and self._has_new(numbers, places):
                table = self._read(anew=True)
                places = table.places(addresses).tolist()
        pairs = zip(places, numbers, strict=True)
        return [table.symbol(place, address) if place >= 0 else None for place, address in pairs]

    def _say(self, what: str) -> None:
        """Say once that functions cannot be named."""
        if not self._has_said:
            LOG.warning("%s", what)
        self._has_said = True

    def _has_new(self, numbers: list[int], places: list[int]) -> bool:
        """Tell whether it is time to read again, for an address that was in no function and has not been asked for."""
        nowhere = {address for address, place in zip(numbers, places, strict=True) if place < 0 and address}
        new = nowhere - self._nowhere
        if not new or self._clock_s() - self._read_at < READ_AGAIN_S:
            return False
        self._nowhere = nowhere if len(self._nowhere) + len(new) > NOWHERE_MAX else self._nowhere | new
        return True

    def _read(self, *, anew: bool = False) -> SymbolTable:
        if self._table is None or anew:
            self.open()
            self._table = SymbolTable(_whole(self._file) if self._file is not None else b"")
            self._read_at = self._clock_s()
        return self._table


def _whole(file: IO[bytes]) -> bytes:
    """Read a file of /proc from its beginning, in large pieces: the kernel gives a page for each call."""
    file.seek(0)
    pieces = []
    while piece := file.read(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


@functools.cache
def kernel_symbols() -> KernelSymbols:
    """Give the one that all share: there is one kernel."""
    return KernelSymbols()


def with_kernel_symbols(batch: RecordBatch) -> RecordBatch:
    """Add ``NAME``, ``NAME_module`` and ``NAME_offset_bytes`` for each address ``NAME_ip`` (``sonde_kernel_ip_t``).

    ``NAME`` is the function in the source (Symbol.function). Of an address in no known one it is the address, in hexadecimal; 0 is none. The kernel's own functions
    have no module.
    """
    added: dict[str, Any] = {}
    for column in batch.schema.having(KERNEL_IP):
        added |= _columns(batch[column.name], column.name.removesuffix("_ip"))
    return batch.adding(added, meanings={name: TEXT for name in added if not name.endswith("_bytes")})


def _columns(addresses: Any, name: str) -> dict[str, Any]:
    import numpy as np

    different, index = np.unique(np.asarray(addresses), return_inverse=True)
    found = kernel_symbols().of(different) if len(different) else []
    names = np.array(
        [
            each.function if each else f"{address:#x}"
            for each, address in zip(found, different.tolist(), strict=True)
        ],
        dtype=object,
    )
    modules = np.array([each.module if each else "" for each in found], dtype=object)
    offsets = np.array([each.offset_bytes if each else 0 for each in found], dtype=np.uint64)
    unknown = np.array([each is None for each in found], dtype=bool)
    if not len(different):
        names = modules = np.empty(0, dtype=object)
    return {
        name: np.ma.masked_array(names[index], mask=(different == 0)[index]),
        f"{name}_module": np.ma.masked_array(modules[index], mask=(modules == "")[index]),
        f"{name}_offset_bytes": np.ma.masked_array(offsets[index], mask=unknown[index]),
    }
