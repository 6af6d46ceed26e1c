"""The controlling side of a run: load, attach, begin, stop; what needs privileges."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sonde._libbpf import lib
from sonde.bpf.map import possible_cpus
from sonde.bpf.map.memory import memory_bytes
from sonde.bpf.object import Object, ObjectSpec
from sonde.bpf.program import wait_for_programs
from sonde.errors import KernelError, KnobError, SondeError
from sonde.probe import FOLLOWERS, HOOK, RATE_MAX, Probe, Selection, Stream, Table, Variant
from sonde.records.cells import Cells
from sonde.run.failure import failure_of, let_go
from sonde.run.knob_values import known, refuse_misplaced
from sonde.run.packaged import object_of
from sonde.run.reading import skipped_runs
from sonde.run.room import can_grow, check_room, entries_of
from sonde.run.selection import checked, fill_filters, globals_of
from sonde.run.walks import Walks

if TYPE_CHECKING:
    from sonde.bpf.link import Hook, Link
    from sonde.bpf.program import Program
    from sonde.run.interfaces import Interfaces
    from sonde.run.naming import Naming
    from sonde.run.sampling import Sampling

STACK_DEPTH_MAX = "stack_depth_max"
"""The knob of probes that take stacks (stack.bpf.h), and the kernel's own bound."""
PERF_EVENT_MAX_STACK = "/proc/sys/kernel/perf_event_max_stack"


class RunControl:
    """Has a probe's output counted from one moment to another; reading it is ``Reading``'s.

    Arguments are as ``Run``'s. ``own_pid`` is the process whose events are sonde's own beside this one's: where another reads.
    ``naming`` is started with it, where stacks are to be named; who made it gives it to ``Reading``, too.
    """

    def __init__(
        self,
        probe: Probe,
        output: str | None = None,
        *,
        selection: Selection | None = None,
        values: Mapping[str, Any] | None = None,
        max_entries: int | None = None,
        own_pid: int | None = None,
        naming: Naming | None = None,
    ) -> None:
        self.probe = probe
        self.output: Table | Stream = probe.output(output)
        self.selection = checked(selection or Selection(), probe)
        self.values = known(values or {}, probe, self.output)
        self.max_entries = max_entries
        self.variant: Variant | None = None
        self.skipped_before = self.skipped_at_end = 0
        self._own_pid = own_pid
        self._object: Object | None = None
        self._interfaces: Interfaces | None = None
        self._walks: Walks | None = None
        self._sampling: Sampling | None = None
        self._naming = naming
        self._stopped = self._ended = False

    # ---- start ----------------------------------------------------------------------------------------------

    def start(self, *, predecessor: RunControl | None = None) -> None:
        """Load, attach everything, then count from one moment on: from that on a ``predecessor`` counts no more.

        It stays attached, and is to be stopped. Raises PermissionDeniedError, NotSupportedError, VerifierError, AttachError or KnobError.
        """
        self._object = self._load()
        try:
            self._attach_all(self._object)
            self._walks = Walks(self._object, self.output)
            fill_filters(self._object, self.selection)
            cells = Cells.of(self._object, self.output.map)
            if cells is not None:
                cells.start()
            if RATE_MAX in self.values:
                self._object.variables[RATE_MAX].value = self.values[RATE_MAX]
            if self._naming is not None:
                self._naming.start(first=[self.selection.pid] if self.selection.pid else [])
            self._begin(predecessor)
            if self._sampling is not None:
                self._sampling.begin()
            if self._interfaces is not None:
                self._interfaces.follow()
            self._walks.begin()
            if self._naming is not None:
                self._naming.follow()
        except BaseException:
            self.close()
            raise

    def _begin(self, predecessor: RunControl | None) -> None:
        """Count from here on; between the end of a predecessor and that are two stores to memory, and nothing else."""
        ours = self.loaded.variables["active"]
        if predecessor is None:
            self.skipped_before = skipped_runs(self.loaded, self.output)
            ours.value = 1
            return
        predecessor.refresh()
        theirs = predecessor.loaded.variables["active"]
        # What it takes to write ours for the first time is behind us then.
        ours.value = 0
        self.skipped_before = skipped_runs(self.loaded, self.output)
        theirs.value = 0
        ours.value = 1
        predecessor.note_end()

    def _programs(self) -> tuple[str, ...]:
        # Following children costs two more programs, on fork and on exit.
        followers = FOLLOWERS if self.selection.children else ()
        extra = self.variant.programs if self.variant is not None else ()
        return self.output.programs + followers + extra

    def _load(self) -> Object:
        content = object_of(self.probe)
        errors: list[KernelError] = []
        for variant in self.probe.variants:
            try:
                with ObjectSpec.open(content, name=self.probe.name) as spec:
                    self._prepare(spec, variant)
                    loaded = spec.load()
            except KernelError as error:
                errors.append(error)
                continue
            for each in errors:
                let_go(each)
            return loaded
        raise failure_of(self.probe, errors)

    def _prepare(self, spec: ObjectSpec, variant: Variant) -> None:
        self.variant = variant
        wanted = {*self._programs(), *Walks.programs_of(self.output)} - set(variant.without)
        for name, program in spec.programs.items():
            program.autoload = name in wanted and not (program.type == "xdp" and self._prefers_tc)
            if name in variant.types:
                program.type = variant.types[name]
        self._prepare_maps(spec, variant)
        self._set_globals(spec, variant)
        if self.probe.configure is not None:
            self.probe.configure(spec, self.output.name, self.values)
        # Behind what the probe itself says of it.
        refuse_misplaced(self.values, self.probe, self.output)
        self._size_maps(spec)

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

    def _size_maps(self, spec: ObjectSpec) -> None:
        for name, entries in self._entries(possible_cpus()).items():
            if name in spec.maps:
                spec.maps[name].max_entries = entries
        if isinstance(self.output, Table) and self.output.grows and can_grow():
            spec.maps[self.output.map].flags |= lib.BPF_F_NO_PREALLOC
        if self.max_entries is not None:
            check_room((each for each in spec.maps.values() if each.autocreate), possible_cpus())

    def _entries(self, cpus: int) -> dict[str, int]:
        return entries_of(self.output, self.values, max_entries=self.max_entries, cpus=cpus)

    def _set_globals(self, spec: ObjectSpec, variant: Variant) -> None:
        knobs = spec.knobs
        values = dict(variant.globals)
        if self.probe.selects_processes:
            values |= globals_of(self.selection, own_pid=self._own_pid or os.getpid())
        for name, value in values.items():
            if name in knobs:
                knobs[name].value = value
            elif value:
                raise KnobError(f"set {name} of probe {self.probe.name}", why="the probe cannot filter by it")
        if STACK_DEPTH_MAX in knobs:
            with open(PERF_EVENT_MAX_STACK) as file:
                knobs[STACK_DEPTH_MAX].value = min(int(file.read()), knobs[STACK_DEPTH_MAX].value)
        for knob in self.probe.knobs:
            if knob.is_global and knob.name in self.values:
                knobs[knob.symbol or knob.name].value = self.values[knob.name]

    @property
    def _prefers_tc(self) -> bool:
        return self.values.get(HOOK.name) == "tc"

    def _attach_all(self, loaded: Object) -> None:
        programs = {name: loaded.programs[name] for name in self._programs() if name in loaded.programs}
        if self.probe.on_interfaces:
            from sonde.run.interfaces import Interfaces
            from sonde.run.placing import TYPES, Placing

            placing = Placing(programs, prefers_tc=self._prefers_tc)
            self._interfaces = Interfaces(self.selection, placing)
            self._interfaces.attach()
            programs = {name: each for name, each in programs.items() if each.type not in TYPES}
        for program in programs.values():
            if program.type == "perf_event":
                self._sampling = self._clocked(loaded, program)
            else:
                program.attach(self._hook_of(program))

    def _clocked(self, loaded: Object, program: Program) -> Sampling:
        from sonde.run.sampling import Sampling

        accounting, skipped = f"{self.output.name}_accounting", f"{self.output.map}_skipped"
        sampling = Sampling(
            program, self.values, accounting=loaded.maps[accounting], skipped=loaded.maps[skipped]
        )
        sampling.open()
        return sampling

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

    # ---- while it runs ----------------------------------------------------------------------------------------

    @property
    def loaded(self) -> Object:
        """The loaded object; raises SondeError before start."""
        if self._object is None:
            raise SondeError(f"use probe {self.probe.name}", why="it was not started")
        return self._object

    @property
    def interfaces(self) -> Interfaces | None:
        """The interfaces that it is on; None for a probe that goes to none."""
        return self._interfaces

    @property
    def stopped(self) -> bool:
        """Tell whether it counts no more."""
        return self._stopped

    def set_variable(self, name: str, value: Any) -> None:
        """Set a live global of the probe's; raises KnobError. ``active`` is set by start and stop alone."""
        if name == "active":
            raise KnobError(
                f"set variable {name}", why="starting and stopping the run sets it", knob=name, hint="stop it"
            )
        self.loaded.variables[name].value = value

    def select(self, selection: Selection) -> None:
        """Be on other interfaces from now on; those that stay go on without a gap.

        Raises AttachError, and KnobError for a probe that goes to none: then all stays as it was.
        """
        chosen = checked(selection, self.probe)
        if self._interfaces is None or self._stopped:
            raise KnobError(f"select interfaces for probe {self.probe.name}", why="it is on no interface")
        self._interfaces.choose(chosen)
        self.selection = chosen

    # ---- stop -----------------------------------------------------------------------------------------------

    def stop(self) -> bool:
        """Count no more; False where that was done already.

        The flag first, so that all programs stop at one moment; then detach; then wait until none still runs.
        """
        loaded = self.loaded
        if self._stopped or loaded.closed:
            return False
        # Of what is open it has the last word now: without the programs nobody knows whose a socket is.
        if not self._ended:
            self.refresh()
        self._stopped = True
        if self._interfaces is not None:
            self._interfaces.close()
        if self._sampling is not None:
            self._sampling.stop()
        loaded.variables["active"].value = 0
        self.note_end()
        for link in reversed(loaded.links):
            if self._walks is None or link not in self._walks:
                link.close()
        wait_for_programs()
        if self._walks is not None:
            self._walks.refresh()
            self._walks.close()
        if self._naming is not None:
            self._naming.end()
        return True

    def note_end(self) -> None:
        """Take for the end of its counting the first time that this is called."""
        if not self._ended:
            self._ended, self.skipped_at_end = True, skipped_runs(self.loaded, self.output)

    def refresh(self) -> None:
        """Bring the output up to date before it is read: by iterators, or clocks. Nothing once it has stopped."""
        if self._stopped or self.loaded.closed:
            return
        if self._walks is not None:
            self._walks.refresh()
        if self._sampling is not None:
            self._sampling.refresh()

    def close(self) -> None:
        """Stop and free everything; again is fine."""
        if self._interfaces is not None:
            self._interfaces.close()
        if self._naming is not None:
            self._naming.close()
        if self._object is not None:
            self._object.close()

    def describe(self) -> dict[str, Any]:
        """Tell what was chosen: the variant, each program's hook, the memory of the maps, and each interface."""
        loaded = self.loaded
        return {
            "variant": self.variant.name if self.variant else "",
            "hooks": {link.program.name: _hook_text(link) for link in loaded.links},
            "interfaces": self._interfaces.describe() if self._interfaces is not None else [],
            "map_memory_bytes": self._memory_bytes(possible_cpus()),
            "map_memory_bytes_128_cpus": self._memory_bytes(128),
        }

    def _memory_bytes(self, cpus: int) -> int:
        """Compute what the maps would take on a machine with so many CPUs."""
        entries = self._entries(cpus)
        shapes = [each.shape for each in self.loaded.maps.values()]
        shapes = [replace(each, max_entries=entries.get(each.name, each.max_entries)) for each in shapes]
        return sum(memory_bytes(each, cpus) for each in shapes)


def _belongs(name: str, output: Table | Stream) -> bool:
    """Tell whether a map is an output's, by its name: ``counts``, ``counts_other``, ``counts_accounting``, …."""
    return name == output.map or name.startswith(f"{output.map}_")


def _hook_text(link: Link) -> str:
    """Write a link's hook; of those on interfaces, which may be many, only what all have in common."""
    hook, mechanism = str(link.hook), getattr(link, "mechanism", "")
    kind, _, place = hook.partition(":")
    if kind not in ("xdp", "tc"):
        return hook
    direction = place.partition(":")[2]
    return ":".join(each for each in (mechanism or kind, direction) if each)
