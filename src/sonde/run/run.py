"""A run in one process: what starts it reads it, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from sonde.errors import SondeError
from sonde.run.control import RunControl
from sonde.run.reading import Reading, reads_stacks

if TYPE_CHECKING:
    from sonde.bpf.object import Object
    from sonde.probe import Probe, Selection, Stream, Table, Variant
    from sonde.records.model import RecordBatch
    from sonde.records.sources import StreamSource, TableSource
    from sonde.records.stacks import StackTable
    from sonde.run.interfaces import Interfaces
    from sonde.run.naming import Naming


class Run:
    """A probe's output between its start and its end; a context manager, which starts and closes.

    ``output`` names a table or a stream of the probe (its first by default), ``values`` sets knobs by name (a
    stream's RATE_MAX among them), ``max_entries`` bounds the rows of a table or the bytes of a stream. With
    ``differences`` a read of a table gives what was added since the one before (TableSource). Without ``histograms`` the
    columns of buckets are left out, once all that follows from them is there. Starting imports no NumPy.
    """

    def __init__(
        self,
        probe: Probe,
        output: str | None = None,
        *,
        selection: Selection | None = None,
        values: Mapping[str, Any] | None = None,
        max_entries: int | None = None,
        differences: bool = False,
        histograms: bool = True,
    ) -> None:
        self._naming = _naming_of(probe.output(output), differences=differences)
        self._control = RunControl(
            probe,
            output,
            selection=selection,
            values=values,
            max_entries=max_entries,
            naming=self._naming,
        )
        self.differences = differences
        self._histograms = histograms
        self._reading: Reading | None = None

    @property
    def probe(self) -> Probe:
        """The probe that runs."""
        return self._control.probe

    @property
    def output(self) -> Table | Stream:
        """The output that is read."""
        return self._control.output

    @property
    def selection(self) -> Selection:
        """Whose events count."""
        return self._control.selection

    @property
    def values(self) -> Mapping[str, Any]:
        """The knobs that were set."""
        return self._control.values

    @property
    def interfaces(self) -> Interfaces | None:
        """The interfaces that it is on, and how; None for a probe that goes to none, and before start."""
        return self._control.interfaces

    @property
    def variant(self) -> Variant | None:
        """The variant that the kernel took; None before start."""
        return self._control.variant

    @property
    def loaded(self) -> Object:
        """The loaded object; raises SondeError before start."""
        return self._control.loaded

    def start(self) -> None:
        """Load, attach everything, then count from one moment on.

        Raises PermissionDeniedError, NotSupportedError, VerifierError, AttachError or KnobError.
        """
        self._control.start()
        interfaces = self._control.interfaces
        self._reading = Reading(
            self.probe,
            self.output,
            self.loaded,
            values=self.values,
            follows=self.selection.children,
            skipped_before=self._control.skipped_before,
            differences=self.differences,
            interfaces=interfaces.names if interfaces is not None else None,
            refresh=self._control.refresh,
            naming=self._naming,
            histograms=self._histograms,
        )

    @property
    def _read(self) -> Reading:
        if self._reading is None:
            raise SondeError(f"use probe {self.probe.name}", why="it was not started")
        return self._reading

    @property
    def source(self) -> TableSource | StreamSource:
        """What reads the output; opened at first use, which imports NumPy."""
        return self._read.source

    @property
    def stacks(self) -> StackTable | None:
        """The stacks that rows name by number; None for an output without."""
        return self._read.stacks

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the names of stacks: what is missing, and what would help."""
        return self._naming.notes if self._naming is not None else ()

    def _counters(self) -> Mapping[str, int]:
        return self._read.counters()

    def read(self) -> RecordBatch:
        """Read a batch with all columns: a table's rows so far, or a stream's records since the last read."""
        return self._read.read()

    def fileno(self) -> int | None:
        """Give a descriptor that is readable when a stream has records; None for a table."""
        return self._read.fileno()

    def fill(self) -> float:
        """Give how full the table or the ring was when it was last read, 0 to 1."""
        return self._read.fill()

    def statistics(self) -> Mapping[str, tuple[int, int]]:
        """Give, for each of the output's programs, how long it ran in ns and how often, while statistics were kept."""
        return self._read.statistics()

    def set_variable(self, name: str, value: int) -> None:
        """Set a live global of the probe's; raises KnobError."""
        self._control.set_variable(name, value)

    def select(self, selection: Selection) -> None:
        """Be on other interfaces from now on; those that stay go on without a gap. Raises AttachError, KnobError."""
        self._control.select(selection)

    def stop(self) -> None:
        """Count no more: what is read from now on is final. Again is fine."""
        reading = self._read
        if self._control.stop():
            reading.finish(self._control.skipped_at_end)

    def close(self) -> None:
        """Stop and free everything; again is fine."""
        self._control.close()

    def describe(self) -> dict[str, Any]:
        """Tell what was chosen: the variant, each program's hook, the memory of the maps, and each interface."""
        return self._control.describe()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _naming_of(output: Table | Stream, *, differences: bool) -> Naming | None:
    """Make what names stacks, where somebody reads them."""
    if not reads_stacks(output, differences=differences):
        return None
    from sonde.run.naming import Naming

    return Naming()
