"""What a run must know to name stacks: who had mapped what, from its beginning to its end."""

from __future__ import annotations

import importlib
import os
import select
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sonde.bpf.side_band import SideBand
from sonde.enrich.address_spaces import AddressSpaces
from sonde.enrich.symbols.mapped_files import MappedFiles
from sonde.errors import SondeError

if TYPE_CHECKING:
    from sonde.enrich.stack import StackNames
    from sonde.records.frames import Written
    from sonde.records.generations import Numbering
    from sonde.records.stacks import StackTable

GATHERS_S = 0.02
"""So long it waits when a program has begun, for the rest of what it maps: 50 times a second at most."""


class Naming:
    """Follows the mappings of all processes, on a thread of its own, so that files are opened while they can be.

    ``start`` opens the side band and looks at the processes that are there; what is counted from then on can be named. The
    thread sleeps while no program begins. ``end`` takes what is left, ``close`` gives everything back.
    """

    def __init__(self) -> None:
        self.files = MappedFiles()
        self.spaces = AddressSpaces(on_file=self.files.hold)
        self._band: SideBand | None = None
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._draining = threading.Lock()
        self._wake = -1
        self._names: StackNames | None = None

    def start(self, *, first: Sequence[int] = ()) -> None:
        """Begin; the processes ``first`` are looked at before all others. Raises KernelError."""
        self._band = SideBand()
        self.spaces.begin(first=first)

    def follow(self) -> None:
        """Start the thread; at the end of starting, for it imports NumPy."""
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._follow, name="sonde-mappings", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        assert self._band is not None, "start was called"
        # It takes 0.1 s, and with the first records there is no time for it.
        importlib.import_module("numpy")
        poll = select.poll()
        poll.register(self._band.fileno(), select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while not self._ending.is_set():
            poll.poll()
            if not self._ending.wait(GATHERS_S):
                self.drain()

    def drain(self) -> None:
        """Take what was recorded until now."""
        if self._band is None:
            return
        # Whoever comes back from here knows all of them, those too that the thread has just taken out of the rings.
        with self._draining:
            try:
                records = self._band.drain()
            except SondeError:
                # Closed meanwhile, by whoever ends the run.
                return
            self.spaces.take(records, lost=self._band.lost)

    def names(self, stacks: StackTable, *, weight: str, shorten: Callable[[Written], Written]) -> StackNames:
        """Give what names the stacks of rows that have a column ``weight``; one for all reads."""
        if self._names is None:
            from sonde.enrich.stack import StackNames
            from sonde.enrich.symbols.binaries import Binaries

            binaries = Binaries(self.files)
            self._names = StackNames(stacks, self.spaces, binaries=binaries, weight=weight, shorten=shorten)
        return self._names

    def numbering(self, stacks: StackTable) -> Numbering:
        """Give what numbers the user stacks of rows that the kernel has given just now, or before."""
        from sonde.enrich.replaced_code import ReplacedCode
        from sonde.records.generations import Numbering

        replaced = ReplacedCode(stacks, self.spaces)

        def apart(*columns: Any) -> Any:
            self.drain()
            return replaced.numbers(*columns)

        def by_name(*columns: Any) -> Any:
            assert self._names is not None, "rows were read before there were too many"
            return self._names.numbers(*columns)

        return Numbering(apart, by_name)

    def counters(self) -> dict[str, int]:
        """Count what may be missing: records of mappings that were lost, ended processes that were forgotten unread."""
        return {"mappings_lost": self.spaces.lost, "processes_forgotten": self.spaces.forgotten}

    @property
    def notes(self) -> tuple[str, ...]:
        """Say what is missing in the names, and what would help."""
        return self._names.notes if self._names is not None else ()

    def settle(self, before_ns: int) -> None:
        """Let go of what was needed for rows that were read, which were counted before a time."""
        self.files.release(before_ns)
        self.spaces.forget(before_ns)

    def end(self) -> None:
        """Take what is left, and follow no more; again is fine."""
        self._ending.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            os.eventfd_write(self._wake, 1)
            thread.join()
            os.close(self._wake)
        self.drain()
        if self._band is not None:
            self._band.close()

    def close(self) -> None:
        """End, and close all files; again is fine."""
        self.end()
        self.files.close()
