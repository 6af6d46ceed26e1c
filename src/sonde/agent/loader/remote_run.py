"""A run whose other half is in the loader: that starts and stops it, this process reads it."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from sonde.agent.loader.protocol import Started
from sonde.agent.loader.remote_interfaces import RemoteInterfaces
from sonde.bpf.object import ObjectSpec
from sonde.bpf.program import wait_for_programs
from sonde.bpf.received import ReceivedMap, ReceivedObject
from sonde.errors import LoaderError, SondeError
from sonde.probe import Probe, Selection, Stream, Table
from sonde.run.packaged import object_of
from sonde.run.reading import Reading, is_clocked, skipped_runs

if TYPE_CHECKING:
    from sonde.agent.loader.loader import Loader
    from sonde.records.model import RecordBatch
    from sonde.records.sources import StreamSource, TableSource

LOG = logging.getLogger("sonde.agent")


class RemoteRun:
    """A probe's output that the loader runs, read here (``sonde.records.pipeline.Output``); a context manager.

    When the loader is killed its programs are detached with it: what was counted until then can be read, ``stop``
    makes it final, and the accounting is exact. What happens afterwards is not seen.
    """

    def __init__(
        self,
        loader: Loader,
        probe: Probe,
        output: str | None,
        started: Started,
        descriptors: Sequence[int],
        *,
        values: Mapping[str, Any],
        follows: bool,
        differences: bool,
    ) -> None:
        """Take over a started run and its descriptors; ``Loader.start`` makes one."""
        self.probe = probe
        self.output: Table | Stream = probe.output(output)
        self.values = dict(values)
        self.variant = started.variant
        self._loader, self._started = loader, started
        self._stopped = self._closed = False
        name = f"{probe.name}.{self.output.name}"
        interfaces = RemoteInterfaces(loader, started.run, name) if started.is_on_interfaces else None
        self._interfaces = interfaces
        try:
            self.loaded = _received(probe, started, descriptors)
            self._reading = Reading(
                probe,
                self.output,
                self.loaded,
                values=values,
                follows=follows,
                skipped_before=started.skipped_before,
                differences=differences,
                interfaces=interfaces.names if interfaces is not None else None,
                refresh=self._refresh,
            )
        except BaseException:
            loader.free(started.run)
            raise

    def _refresh(self) -> None:
        """Only where something is to be done; without the loader what it has counted stays readable."""
        changes = self.output.before_read or is_clocked(self.loaded, self.output)
        if changes and not self._stopped and not self._loader.lost:
            with contextlib.suppress(LoaderError):
                self._loader.refresh(self._started.run)

    @property
    def source(self) -> TableSource | StreamSource:
        """What reads the output; opened at first use, which imports NumPy."""
        return self._reading.source

    def counters(self) -> Mapping[str, int]:
        """Read the kernel's counters of this output, by name."""
        return self._reading.counters()

    def read(self) -> RecordBatch:
        """Read a batch with all columns: a table's rows so far, or a stream's records since the last read."""
        return self._reading.read()

    def fileno(self) -> int | None:
        """Give a descriptor that is readable when a stream has records; None for a table."""
        return self._reading.fileno()

    def fill(self) -> float:
        """Give how full the table or the ring was when it was last read, 0 to 1."""
        return self._reading.fill()

    def statistics(self) -> Mapping[str, tuple[int, int]]:
        """Give, for each of the output's programs, how long it ran in ns and how often, while statistics were kept."""
        return self._reading.statistics()

    def set_variable(self, name: str, value: int) -> None:
        """Set a live global of the probe's, such as a rate; raises KnobError, LoaderError."""
        self._loader.set_variable(self._started.run, name, value)

    def select(self, selection: Selection) -> None:
        """Be on other interfaces from now on; those that stay go on without a gap. Raises AttachError, LoaderError."""
        self._loader.select(self._started.run, selection)

    @property
    def number(self) -> int:
        """What the loader calls it."""
        return self._started.run

    @property
    def can_be_succeeded(self) -> bool:
        """Tell whether another run of the probe may be attached beside it, and go on where this one ends.

        On an interface there is room for one, and of a clock it is reckoned how often it ticked.
        """
        return self._interfaces is None and not self._stopped and not is_clocked(self.loaded, self.output)

    @property
    def stopped(self) -> bool:
        """Tell whether it counts no more."""
        return self._stopped

    def stop(self) -> None:
        """Count no more: what is read from now on is final. Again is fine, and so is a loader that is lost."""
        if self._stopped or self._closed:
            return
        self._stopped = True
        try:
            skipped = self._stop()
        except LoaderError:
            # What it attached goes with its process; the programs' own counts stay, for we hold them.
            self._loader.await_end()
            wait_for_programs()
            skipped = skipped_runs(self.loaded, self.output)
        self._reading.finish(skipped)

    def _stop(self) -> int:
        try:
            return self._loader.stop(self._started.run)
        except LoaderError:
            raise
        except SondeError as error:
            # It cannot end in order: freed, it is detached all the same.
            LOG.warning("%s.%s: %s", self.probe.name, self.output.name, error)
            self._loader.free(self._started.run)
            wait_for_programs()
            return skipped_runs(self.loaded, self.output)

    def close(self) -> None:
        """Stop and free everything, here and in the loader; again is fine."""
        if self._closed:
            return
        self._closed = True
        self.loaded.close()
        try:
            self._loader.free(self._started.run)
        except LoaderError:
            return
        except SondeError as error:
            LOG.warning("%s.%s: %s", self.probe.name, self.output.name, error)

    def describe(self) -> dict[str, Any]:
        """Tell what was chosen: the variant, each program's hook, the memory of the maps, and each interface."""
        return {
            "variant": self.variant,
            "hooks": self._started.hooks,
            "interfaces": self._interfaces.describe() if self._interfaces is not None else [],
            **self._started.described,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _received(probe: Probe, started: Started, descriptors: Sequence[int]) -> ReceivedObject:
    """Put descriptors and names together; the descriptors are closed where that cannot be."""
    count = len(started.maps)
    try:
        if len(descriptors) != count + len(started.programs):
            raise LoaderError(
                f"receive probe {probe.name}", why=f"{len(descriptors)} descriptors came", hint="start again"
            )
        spec = ObjectSpec.open(object_of(probe), name=probe.name)
    except BaseException:
        for fd in descriptors:
            os.close(fd)
        raise
    with spec:
        return ReceivedObject(
            spec,
            [
                ReceivedMap(
                    each.name, fd, each.type, each.key_size, each.value_size, each.max_entries, each.flags
                )
                for each, fd in zip(started.maps, descriptors[:count], strict=True)
            ],
            dict(zip(started.programs, descriptors[count:], strict=True)),
            links=started.hooks,
        )
