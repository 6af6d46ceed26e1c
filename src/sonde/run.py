"""One output of a probe, in the kernel: started, read as often as wanted, stopped, accounted for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from sonde._libbpf import lib
from sonde.bpf.codec import as_dict
from sonde.bpf.map import possible_cpus
from sonde.bpf.map.memory import memory_bytes
from sonde.bpf.map.per_cpu import summed
from sonde.bpf.object import Object, ObjectSpec
from sonde.bpf.safe import read_packaged
from sonde.errors import KernelError, KnobError, PermissionDeniedError, SondeError
from sonde.probe import FOLLOWERS, Probe, Selection, Stream, Table, Variant
from sonde.records.cells import Cells

if TYPE_CHECKING:
    from sonde.bpf.link import Hook
    from sonde.bpf.program import Program
    from sonde.records.model import Enricher, RecordBatch
    from sonde.records.sources import StreamSource, TableSource

INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h


class Run:
    """A probe's output between its start and its end; a context manager, which starts and closes.

    ``output`` names a table or a stream of the probe (its first by default), ``values`` sets knobs by name,
    ``max_entries`` bounds the rows of a table or the bytes of a stream. With ``differences`` a read of a table gives
    what was added since the one before (TableSource). Starting imports no NumPy.
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
    ) -> None:
        self.probe = probe
        self.output: Table | Stream = probe.output(output) if output else probe.outputs[0]
        self.selection = selection or Selection()
        self.values = self._checked(values or {})
        self.max_entries = max_entries
        self.differences = differences
        self.variant: Variant | None = None
        self._object: Object | None = None
        self._source: TableSource | StreamSource | None = None
        self._enrichers: tuple[Enricher, ...] | None = None
        self._stopped = False
        self._skipped_before = self._skipped_at_end = 0

    def _checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        known = {knob.name: knob for knob in self.probe.knobs}
        for name in values:
            if name not in known:
                raise KnobError(
                    f"set {name} of probe {self.probe.name}",
                    why="there is no such knob",
                    knob=name,
                    valid=", ".join(sorted(known)) or "none",
                )
        return {name: value for name, value in values.items() if value is not None}

    # ---- start ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load, attach everything, then count from one moment on.

        Raises PermissionDeniedError, NotSupportedError, VerifierError, AttachError or KnobError.
        """
        self._object = self._load()
        try:
            for name in self._programs():
                if name in self._object.programs:
                    self._attach(self._object.programs[name])
            self._fill_filters(self._object)
            cells = Cells.of(self._object, self.output.map)
            if cells is not None:
                cells.start()
            self._skipped_before = self._skipped()
            self._object.variables["active"].value = 1
        except BaseException:
            self._object.close()
            raise

    def _programs(self) -> tuple[str, ...]:
        # Following children costs two more programs, on fork and on exit.
        followers = FOLLOWERS if self.selection.children else ()
        extra = self.variant.programs if self.variant is not None else ()
        return self.output.programs + followers + extra

    def _load(self) -> Object:
        content = read_packaged(f"probes/{self.probe.name}/probe.bpf.o")
        first: KernelError | None = None
        for variant in self.probe.variants:
            try:
                with ObjectSpec.open(content, name=self.probe.name) as spec:
                    self._prepare(spec, variant)
                    loaded = spec.load()
            except PermissionDeniedError:
                raise
            except KernelError as error:
                # The first variant is the one for this kernel, unless the kernel is old: its error says most.
                if first is not None:
                    first.add_note(f"variant {variant.name}: {error}")
                first = first or error
                continue
            return loaded
        assert first is not None, "a probe has at least one variant"
        raise first

    def _prepare(self, spec: ObjectSpec, variant: Variant) -> None:
        self.variant = variant
        wanted = set(self._programs()) - set(variant.without)
        for name, program in spec.programs.items():
            program.autoload = name in wanted
            if name in variant.types:
                program.type = variant.types[name]
        self._prepare_maps(spec, variant)
        self._set_globals(spec, variant)
        if self.probe.configure is not None:
            self.probe.configure(spec, self.output.name, self.values)

    def _prepare_maps(self, spec: ObjectSpec, variant: Variant) -> None:
        left_out = set(variant.without) | {
            name
            for name in spec.maps
            for output in self.probe.outputs
            if output is not self.output and _belongs(name, output)
        }
        left_out |= set() if self.selection.children else {"followed"}
        left_out |= set() if self.selection.cgroup is not None else {"cgroups"}
        for name in left_out & set(spec.maps):
            spec.maps[name].autocreate = False
        if self.max_entries is not None:
            spec.maps[self.output.map].max_entries = self.max_entries
            for name, room in (("cells", self.max_entries + 1), ("free", self.max_entries)):
                if f"{self.output.map}_{name}" in spec.maps:
                    spec.maps[f"{self.output.map}_{name}"].max_entries = room

    def _set_globals(self, spec: ObjectSpec, variant: Variant) -> None:
        knobs = spec.knobs
        chosen = self.selection
        values: dict[str, Any] = dict(variant.globals)
        values["own_pid"] = 0 if chosen.own else os.getpid()
        values["only_pid"] = (chosen.pid or 0) if not chosen.children else 0
        values["only_followed"] = chosen.pid is not None and chosen.children
        values["only_cgroup"] = chosen.cgroup is not None
        values["only_comm"] = chosen.comm is not None
        if chosen.comm is not None:
            values["comm"] = chosen.comm
        namespace = os.stat("/proc/self/ns/pid").st_ino
        values["pidns_inum"] = 0 if namespace == INITIAL_PID_NAMESPACE else namespace
        for name, value in values.items():
            if name in knobs:
                knobs[name].value = value
            elif value:
                raise KnobError(f"set {name} of probe {self.probe.name}", why="the probe cannot filter by it")
        for knob in self.probe.knobs:
            if knob.is_global and knob.name in self.values:
                knobs[knob.symbol or knob.name].value = self.values[knob.name]

    def _fill_filters(self, loaded: Object) -> None:
        if self.selection.cgroup is not None:
            loaded.maps["cgroups"][0] = self.selection.cgroup  # type: ignore[index]
        if self.selection.pid is not None and self.selection.children:
            loaded.maps["followed"][self.selection.pid] = 0  # type: ignore[index]

    def _attach(self, program: Program) -> None:
        program.attach(self._hook_of(program))

    def _hook_of(self, program: Program) -> Hook:
        kind, _, target = program.section.partition("/")
        # Imported here: each takes 2 ms and more, and one is needed.
        if kind in ("tp_btf", "raw_tp") and program.type == "tracing":
            from sonde.bpf.link.tp_btf import TpBtf

            return TpBtf(target)
        if kind in ("tp_btf", "raw_tp"):
            from sonde.bpf.link.raw_tracepoint import RawTracepoint

            return RawTracepoint(target)
        from sonde.bpf.link.section import Section

        return Section()

    # ---- read -----------------------------------------------------------------------------------------------

    @property
    def loaded(self) -> Object:
        """The loaded object; raises SondeError before start."""
        if self._object is None:
            raise SondeError(f"use probe {self.probe.name}", why="it was not started")
        return self._object

    def _counters(self) -> Mapping[str, int]:
        # One entry per program, so that two of them never write the same one; all CPUs and entries add up.
        entries = self.loaded.maps[f"{self.output.name}_accounting"].totals()  # type: ignore[attr-defined]
        counters: dict[str, int] = as_dict(summed(list(entries.values())))
        skipped = (self._skipped_at_end if self._stopped else self._skipped()) - self._skipped_before
        counters["seen"] += skipped
        counters["lost_recursion"] = skipped
        if self.selection.children:
            counters["unfollowed"] = int(self.loaded.variables["unfollowed"].value)
        return counters

    def _skipped(self) -> int:
        """Events for which the kernel did not run the program that counts, the output's last, and counted that itself.

        It does not start a program on a CPU where it runs already. Since programs on system calls can be preempted
        (Linux 7.x) that happens to other tasks' calls while one is.
        """
        return self.loaded.programs[self.output.programs[-1]].recursion_misses

    @property
    def source(self) -> TableSource | StreamSource:
        """What reads the output; opened at first use, which imports NumPy."""
        if self._source is None:
            from sonde.records.opening import open_stream, open_table

            output, name = self.output, f"{self.probe.name}.{self.output.name}"
            if isinstance(output, Table):
                self._source = open_table(
                    self.loaded,
                    output.map,
                    other=output.other,
                    counted=output.counted,
                    name=name,
                    counters=self._counters,
                    differences=self.differences,
                )
            else:
                self._source = open_stream(self.loaded, output.map, name=name, counters=self._counters)
            self._source.is_final = self._stopped
        return self._source

    def read(self) -> RecordBatch:
        """Read a batch with all columns: a table's rows so far, or a stream's records since the last read."""
        source = self.source
        if self._enrichers is None:
            self._enrichers = self.output.enrich()
        batch = source.read()
        factor = int(self.values.get("sample") or 1)
        if factor > 1:
            batch = replace(batch, scale=factor)
        for enrich in self._enrichers:
            batch = enrich(batch)
        return batch

    def fileno(self) -> int | None:
        """Give a descriptor that is readable when a stream has records; None for a table."""
        return self.source.fileno()

    def stop(self) -> None:
        """Count no more: what is read from now on is final. Again is fine.

        The flag first, so that all programs stop at one moment; then detach; then wait until none still runs.
        """
        loaded = self.loaded
        if self._stopped or loaded.closed:
            return
        self._stopped = True
        loaded.variables["active"].value = 0
        self._skipped_at_end = self._skipped()
        for link in reversed(loaded.links):
            link.close()
        wait_for_programs()
        if self._source is not None:
            self._source.is_final = True

    def close(self) -> None:
        """Stop and free everything; again is fine."""
        if self._object is not None:
            self._object.close()

    def describe(self) -> dict[str, Any]:
        """Tell what was chosen: the variant, each program's hook, the memory of the maps."""
        loaded = self.loaded
        return {
            "variant": self.variant.name if self.variant else "",
            "hooks": {link.program.name: str(link.hook) for link in loaded.links},
            "map_memory_bytes": sum(
                memory_bytes(each.shape, possible_cpus()) for each in loaded.maps.values()
            ),
            "map_memory_bytes_128_cpus": sum(memory_bytes(each.shape, 128) for each in loaded.maps.values()),
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _belongs(name: str, output: Table | Stream) -> bool:
    """Tell whether a map is an output's, by its name: ``counts``, ``counts_other``, ``counts_accounting``, …."""
    return name == output.map or name.startswith(f"{output.map}_")


def wait_for_programs() -> None:
    """Wait until no program that began before this call is still running (membarrier(2), Linux 4.3)."""
    lib.sonde_membarrier_global()
