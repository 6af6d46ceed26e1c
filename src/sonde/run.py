"""One output of a probe, in the kernel: started, read as often as wanted, stopped, accounted for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from sonde._libbpf import lib
from sonde.bpf.link import RawTracepoint, Section, TpBtf
from sonde.bpf.map import possible_cpus
from sonde.bpf.map.memory import memory_bytes
from sonde.bpf.object import Object, ObjectSpec
from sonde.bpf.safe import read_packaged
from sonde.errors import KernelError, KnobError, PermissionDeniedError, SondeError
from sonde.probe import Probe, Selection, Stream, Table, Variant

if TYPE_CHECKING:
    from sonde.bpf.link import Hook
    from sonde.bpf.program import Program
    from sonde.records.model import Enricher, RecordBatch
    from sonde.records.sources import StreamSource, TableSource

INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h


class Run:
    """A probe's output between its start and its end; a context manager, which starts and closes.

    ``output`` names a table or a stream of the probe (its first by default), ``values`` sets knobs by name,
    ``max_entries`` bounds the rows of a table or the bytes of a stream. Starting imports no NumPy.
    """

    def __init__(
        self,
        probe: Probe,
        output: str | None = None,
        *,
        selection: Selection | None = None,
        values: Mapping[str, Any] | None = None,
        max_entries: int | None = None,
    ) -> None:
        self.probe = probe
        self.output: Table | Stream = probe.output(output) if output else probe.outputs[0]
        self.selection = selection or Selection()
        self.values = self._checked(values or {})
        self.max_entries = max_entries
        self.variant: Variant | None = None
        self._object: Object | None = None
        self._source: TableSource | StreamSource | None = None
        self._enrichers: tuple[Enricher, ...] | None = None
        self._stopped = False

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
            self._object.variables["active"].value = 1
        except BaseException:
            self._object.close()
            raise

    def _programs(self) -> tuple[str, ...]:
        return self.output.programs

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
                first = first or error
                continue
            self.variant = variant
            return loaded
        assert first is not None, "a probe has at least one variant"
        raise first

    def _prepare(self, spec: ObjectSpec, variant: Variant) -> None:
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
        outputs = {output.map for output in self.probe.outputs}
        others = {output.other for output in self.probe.tables if output.other}
        mine = {self.output.map, getattr(self.output, "other", "")}
        for name, spec_map in spec.maps.items():
            unused = name in variant.without or (name in outputs | others and name not in mine)
            spec_map.autocreate = not unused
        if self.max_entries is not None:
            spec.maps[self.output.map].max_entries = self.max_entries

    def _set_globals(self, spec: ObjectSpec, variant: Variant) -> None:
        knobs = spec.knobs
        chosen = self.selection
        values: dict[str, Any] = dict(variant.globals)
        values["own_pid"] = 0 if chosen.own else os.getpid()
        values["only_pid"] = (chosen.pid or 0) if not chosen.children else 0
        values["only_followed"] = chosen.pid is not None and chosen.children
        values["only_cgroup"] = chosen.cgroup is not None
        if chosen.comm is not None:
            values["only_comm"] = chosen.comm
        namespace = os.stat("/proc/self/ns/pid").st_ino
        values["pid_namespace"] = 0 if namespace == INITIAL_PID_NAMESPACE else namespace
        for name, value in values.items():
            if name in knobs:
                knobs[name].value = value
            elif value:
                raise KnobError(f"set {name} of probe {self.probe.name}", why="the probe cannot filter by it")
        for knob in self.probe.knobs:
            if knob.is_global and knob.name in self.values:
                knobs[knob.name].value = self.values[knob.name]

    def _fill_filters(self, loaded: Object) -> None:
        if self.selection.cgroup is not None:
            loaded.maps["cgroup"][0] = self.selection.cgroup  # type: ignore[index]
        if self.selection.pid is not None and self.selection.children:
            loaded.maps["followed"][self.selection.pid] = 1  # type: ignore[index]

    def _attach(self, program: Program) -> None:
        program.attach(self._hook_of(program))

    def _hook_of(self, program: Program) -> Hook:
        kind, _, target = program.section.partition("/")
        if kind in ("tp_btf", "raw_tp"):
            return TpBtf(target) if program.type == "tracing" else RawTracepoint(target)
        return Section()

    # ---- read -----------------------------------------------------------------------------------------------

    @property
    def object(self) -> Object:
        """The loaded object; raises SondeError before start."""
        if self._object is None:
            raise SondeError(f"use probe {self.probe.name}", why="it was not started")
        return self._object

    def _counters(self) -> Mapping[str, int]:
        totals = self.object.maps["accounting"].total(0)  # type: ignore[attr-defined]
        return {name: int(value) for name, value in zip(totals._fields, totals, strict=True)}

    @property
    def source(self) -> TableSource | StreamSource:
        """What reads the output; opened at first use, which imports NumPy."""
        if self._source is None:
            from sonde.records.opening import open_stream, open_table

            name = f"{self.probe.name}.{self.output.name}"
            if isinstance(self.output, Table):
                self._source = open_table(self.object, self.output, name=name, counters=self._counters)
            else:
                self._source = open_stream(self.object, self.output, name=name, counters=self._counters)
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
        loaded = self.object
        if self._stopped or loaded.closed:
            return
        self._stopped = True
        loaded.variables["active"].value = 0
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
        loaded = self.object
        return {
            "variant": self.variant.name if self.variant else "",
            "hooks": {link.program.name: str(link.hook) for link in loaded.links},
            "map_memory_bytes": sum(memory_bytes(each.shape, possible_cpus()) for each in loaded.maps.values()),
            "map_memory_bytes_128_cpus": sum(memory_bytes(each.shape, 128) for each in loaded.maps.values()),
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wait_for_programs() -> None:
    """Wait until no program that began before this call is still running (membarrier(2), Linux 4.3)."""
    lib.sonde_membarrier_global()
