"""The reading side of a run: batches and their accounting, from an object that this process or another has loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sonde.bpf.codec import as_dict
from sonde.bpf.map.per_cpu import summed
from sonde.probe import SAMPLE, Probe, Stream, Table
from sonde.records.histogram import BUCKET
from sonde.records.stacks import StackTable

if TYPE_CHECKING:
    from sonde.bpf.loaded import Loaded
    from sonde.records.generations import Numbering
    from sonde.records.model import Enricher, RecordBatch
    from sonde.records.sources import StreamSource, TableSource
    from sonde.run.naming import Naming


def skipped_runs(loaded: Loaded, output: Table | Stream) -> int:
    """Count events for which the kernel did not run a program that counts: ``output.counting``, or the last one.

    It does not start a program on a CPU where it runs already, and counts that itself. Since programs on system calls
    can be preempted (Linux 7.x) that happens to other tasks' calls while one is.
    """
    counting = output.counting or output.programs[-1:]
    # Of probes on interfaces those for XDP may be left out.
    return sum(loaded.programs[name].recursion_misses for name in counting if name in loaded.programs)


def is_clocked(loaded: Loaded, output: Table | Stream) -> bool:
    """Tell whether a clock runs the output's program: then the run tells at how many ticks it did not (Sampling)."""
    return f"{output.map}_skipped" in loaded.maps


def reads_stacks(output: Table | Stream, *, differences: bool) -> bool:
    """Tell whether rows are of stacks that are read; who takes differences adds up metrics, and has no use for them."""
    return isinstance(output, Table) and bool(output.weight) and not differences


class Reading:
    """Reads one output of a loaded probe; it is final once ``finish`` was told that nothing runs any more.

    ``values`` are the knobs that were set, ``follows`` says whether children are followed, ``skipped_before`` is what
    ``skipped_runs`` gave when counting began, ``interfaces`` knows their names by number; ``refresh`` brings a table up
    to date that does not do it by itself; ``naming`` names stacks; ``histograms`` as in Run. Reading needs no privileges, where the kernel lets unprivileged
    processes read maps by their descriptors.
    """

    def __init__(
        self,
        probe: Probe,
        output: Table | Stream,
        loaded: Loaded,
        *,
        values: Mapping[str, Any],
        follows: bool = False,
        skipped_before: int = 0,
        differences: bool = False,
        interfaces: Callable[[], Mapping[int, str]] | None = None,
        refresh: Callable[[], None] = lambda: None,
        naming: Naming | None = None,
        histograms: bool = True,
    ) -> None:
        self.output = output
        self._refresh = refresh
        self._stack_naming = naming
        self._name = f"{probe.name}.{output.name}"
        self._loaded = loaded
        self._sampled = int(values.get(SAMPLE) or 1)
        self._follows = follows
        self._differences = differences
        self._histograms = histograms
        self._interfaces = interfaces
        self._skipped_before = skipped_before
        self._skipped_at_end: int | None = None
        self._source: TableSource | StreamSource | None = None
        self.stacks = StackTable() if reads_stacks(output, differences=differences) else None
        self._enrichers: tuple[Enricher, ...] | None = None

    def counters(self) -> Mapping[str, int]:
        """Read the kernel's counters of this output, by name."""
        # One entry per program, so that two of them never write the same one; all CPUs and entries add up.
        entries = self._loaded.maps[f"{self.output.name}_accounting"].totals()  # type: ignore[attr-defined]
        counters: dict[str, int] = as_dict(summed(list(entries.values())))
        counters["seen"] += self._seen_in_blocks()
        if is_clocked(self._loaded, self.output):
            skipped = sum(self._loaded.maps[f"{self.output.map}_skipped"][0])  # type: ignore[index]
            counters["seen"] += skipped
            counters["lost_skipped"] = skipped
            return self._with_notes(counters)
        at_end = self._skipped_at_end
        skipped = (
            skipped_runs(self._loaded, self.output) if at_end is None else at_end
        ) - self._skipped_before
        counters["seen"] += skipped
        counters["lost_recursion"] = skipped
        return self._with_notes(counters)

    def _with_notes(self, counters: dict[str, int]) -> dict[str, int]:
        """Add what is no part of the equation, and worth knowing."""
        if self._stack_naming is not None:
            counters |= self._stack_naming.counters()
        if self._follows:
            counters["unfollowed"] = int(self._loaded.variables["unfollowed"].value)
        return counters

    def _seen_in_blocks(self) -> int:
        if not isinstance(self.output, Table) or f"{self.output.map}_blocks" not in self._loaded.variables:
            return 0
        from sonde.records.block_rows import seen_in

        return seen_in(self._loaded.variables[f"{self.output.map}_blocks"])

    @property
    def source(self) -> TableSource | StreamSource:
        """What reads the output; opened at first use, which imports NumPy."""
        if self._source is None:
            from sonde.records.opening import open_stream, open_table

            output = self.output
            if isinstance(output, Table):
                self._source = open_table(
                    self._loaded,
                    output.map,
                    other=output.other,
                    counted=output.counted,
                    name=self._name,
                    counters=self.counters,
                    differences=self._differences,
                    weight=output.weight,
                    stacks=self.stacks,
                    numbering=self._numbering(),
                    histograms=self._histograms,
                )
            else:
                self._source = open_stream(self._loaded, output.map, name=self._name, counters=self.counters)
            self._source.is_final = self._skipped_at_end is not None
        return self._source

    def _numbering(self) -> Numbering | None:
        if self._stack_naming is None or self.stacks is None:
            return None
        return self._stack_naming.numbering(self.stacks)

    def read(self) -> RecordBatch:
        """Read a batch with all columns: a table's rows so far, or a stream's records since the last read."""
        source = self.source
        self._refresh()
        begin_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        batch = source.read()
        if self._stack_naming is not None:
            # Behind the rows: what they are of was mapped before.
            self._stack_naming.drain()
        if self._enrichers is None:
            self._enrichers = (*self._naming(batch), *self.output.enrich())
        if self._sampled > 1:
            batch = replace(batch, scale=self._sampled)
        for enrich in self._enrichers:
            batch = enrich(batch)
        if not self._histograms:
            batch = batch.without([column.name for column in batch.schema.having(BUCKET)])
        if self._stack_naming is not None:
            self._stack_naming.settle(begin_ns)
        return batch

    def _naming(self, batch: RecordBatch) -> tuple[Enricher, ...]:
        """Name stacks and interfaces wherever there are some: what was attached to one that has gone knows its name."""
        from sonde.enrich.interface import IFINDEX, InterfaceNames

        if self._stack_naming is not None and self.stacks is not None and isinstance(self.output, Table):
            weight, shorten = self.output.weight, self.output.shorten
            return (self._stack_naming.names(self.stacks, weight=weight, shorten=shorten),)
        if not batch.schema.having(IFINDEX):
            return ()
        return (InterfaceNames(self._interfaces) if self._interfaces is not None else InterfaceNames(),)

    def fileno(self) -> int | None:
        """Give a descriptor that is readable when a stream has records; None for a table."""
        return self.source.fileno()

    def fill(self) -> float:
        """Give how full the table or the ring was when it was last read, 0 to 1."""
        return self._source.fill if self._source is not None else 0.0

    def statistics(self) -> Mapping[str, tuple[int, int]]:
        """Give, for each of the output's programs, how long it ran in ns and how often, while statistics were kept."""
        programs = {name: self._loaded.programs.get(name) for name in self.output.programs}
        return {
            name: (program.run_time_ns, program.run_count)
            for name, program in programs.items()
            if program is not None
        }

    def finish(self, skipped_at_end: int) -> None:
        """Take for final what is read from now on: no program runs any more, and so many events were skipped."""
        self._skipped_at_end = skipped_at_end
        if self._source is not None:
            self._source.is_final = True
