"""Sections ``[probes.NAME]``: what is measured, with the knobs that the probe declares."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sonde.agent.config.key import Key, Path, key, keys_of
from sonde.agent.config.kind import Boolean, Choice, Integer, Kind, Several, Size, Text, quoted, shown
from sonde.errors import SondeError
from sonde.probe import Knob, Probe, Selection, Stream

COMM_BYTES_MAX = 15  # TASK_COMM_LEN is 16, with the NUL
PAGE_BYTES = 4096
PATTERN_MAX = 64
RATE_MAX = 1000
OF_PROCESSES = ("pid", "children", "cgroup", "comm", "own")
OF_INTERFACES = ("interfaces", "exclude_interfaces")
"""Keys of probes that select processes, and of those on interfaces."""


@dataclass(frozen=True, slots=True)
class Comm(Kind):
    """A process's name as the kernel keeps it."""

    @property
    def valid(self) -> str:
        """Say what is right."""
        return "a process's name of 1 to 15 bytes, all that the kernel keeps"

    def read(self, value: object) -> str:
        """Check its length: a longer one would never match."""
        if not isinstance(value, str) or not 0 < len(os.fsencode(value)) <= COMM_BYTES_MAX or "\0" in value:
            raise self.refuse(value)
        return value


@dataclass(frozen=True, slots=True)
class Cgroup(Kind):
    """A directory of the cgroup v2 file system, by its path or by its name below the root."""

    @property
    def valid(self) -> str:
        """Say what is right."""
        return "a directory of the cgroup v2 file system, as /sys/fs/cgroup/system.slice"

    def read(self, value: object) -> str:
        """Find the directory: only those of version 2 list their controllers."""
        from sonde.bpf.link.cgroup import cgroup_roots

        if not isinstance(value, str) or not value or "\0" in value:
            raise self.refuse(value)
        for path in (value, *(f"{root}/{value.lstrip('/')}" for root in cgroup_roots())):
            if os.path.exists(f"{path}/cgroup.controllers"):
                return path
        raise ValueError(f"there is no cgroup {shown(value)}: give {self.valid}")


@dataclass(frozen=True, slots=True)
class InterfaceName(Kind):
    """A network interface by name, pattern or number."""

    @property
    def valid(self) -> str:
        """Say what is right."""
        return 'a network interface by name, pattern ("veth*") or number'

    def read(self, value: object) -> str | int:
        """Take one that could be."""
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= PATTERN_MAX:
            raise self.refuse(value)
        return value

    def write(self, value: Any) -> str:
        """Write it."""
        return str(value) if isinstance(value, int) else quoted(value)


@dataclass(frozen=True, slots=True)
class Ring(Size):
    """The size of a ring buffer: the kernel takes powers of two, of whole pages."""

    least: int = PAGE_BYTES
    most: int = 1 << 30

    @property
    def valid(self) -> str:
        """Say what is right."""
        return "a power of two from 4KiB to 1GiB, as 1MiB"

    def read(self, value: object) -> int:
        """Take it."""
        size = Size.read(self, value)
        if size & (size - 1):
            raise self.refuse(value)
        return size


@dataclass(frozen=True, slots=True)
class KnobKind(Kind):
    """What a knob takes, by the type that the probe declares: the function that reads its flag's text."""

    knob: Knob

    @property
    def valid(self) -> str:
        """Say what is right."""
        return "a whole number" if self.knob.type is int else f"what it means: {self.knob.help}"

    def read(self, value: object) -> Any:
        """Take TOML's own types where they say the same as the text would; a list where the knob is one."""
        if self.knob.type is bool or self.knob.type is int:
            right: type[Any] = self.knob.type
            # True is an int to Python, and no number to anybody else.
            if type(value) is not right:
                raise ValueError(
                    f"{shown(value)} is wrong: give {Boolean().valid if right is bool else self.valid}"
                )
            return value
        if isinstance(value, list):
            return tuple(item for each in value for item in self._items(each))
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.refuse(value)
        return self._typed(str(value))

    def read_text(self, text: str) -> Any:
        """Read it as the flag is read."""
        return Boolean().read_text(text) if self.knob.type is bool else self._typed(text)

    def write(self, value: Any) -> str:
        """Write it."""
        if isinstance(value, tuple | list):
            return f"[{', '.join(self.write(item) for item in value)}]"
        if isinstance(value, bool):
            return Boolean().write(value)
        return str(value) if isinstance(value, int | float) else quoted(value)

    def example(self) -> str:
        """Give a value as TOML."""
        if not self.knob.example:
            return "10" if self.knob.type is int or self.knob.metavar == "N" else ""
        value = self.knob.type(self.knob.example)
        # A duration is a number when it is read; it is written with its unit.
        return self.write(value if isinstance(value, tuple) or self.knob.type is int else self.knob.example)

    def _items(self, item: object) -> tuple[Any, ...]:
        read = self._typed(item) if isinstance(item, str) else None
        if not isinstance(read, tuple):
            raise self.refuse(item)
        return read

    def _typed(self, text: str) -> Any:
        try:
            return self.knob.type(text)
        except SondeError as error:
            raise ValueError(str(error)) from None
        except ValueError as error:
            raise ValueError(
                f"{shown(text)} is wrong: give {self.valid}" if self.knob.type is int else str(error)
            ) from None


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One output of one probe, as it is to be run; ``values`` are its knobs'.

    ``max_entries`` are a table's rows or a stream's bytes (None: as the probe has it), ``rate_max`` a stream's records
    in a second (None: no bound).
    """

    probe: str
    output: str
    values: Mapping[str, Any] = field(default_factory=dict)
    selection: Selection = field(default_factory=Selection)
    max_entries: int | None = None
    rate_max: int | None = None

    @property
    def name(self) -> str:
        """Name it: ``syscalls.counts``."""
        return f"{self.probe}.{self.output}"


@dataclass(frozen=True, slots=True)
class ProbeConfig:
    """What a probe is told; ``values`` are the knobs that were given."""

    enabled: bool = key(Boolean(), False, "Whether it runs.")
    output: tuple[str, ...] = key(Several(Text()), (), "What is read of it.")
    pid: int | None = key(Integer(1, 1 << 22), None, "Only this process.", example="4711")
    children: bool = key(Boolean(), False, "With pid: also all that it starts, or has started.")
    cgroup: str | None = key(
        Cgroup(),
        None,
        "Only what runs in this cgroup (v2) or below.",
        example='"/sys/fs/cgroup/system.slice"',
    )
    comm: str | None = key(Comm(), None, "Only processes of this name.", example='"nginx"')
    own: bool = key(Boolean(), False, "Also what sonde itself does.")
    interfaces: tuple[str | int, ...] = key(
        Several(InterfaceName()),
        (),
        "Only these interfaces, by name, pattern or number; none: all but loopback. One that is not there yet needs a pattern.",
        example='["eth0", "veth*"]',
    )
    exclude_interfaces: tuple[str | int, ...] = key(
        Several(InterfaceName()), (), "Not these interfaces.", example='["docker*"]'
    )
    max_entries: int | None = key(
        Integer(1, 1 << 24), None, "Rows of a table that the kernel has room for.", example="10240"
    )
    ring_size_bytes: int | None = key(
        Ring(), None, "Room of a stream's records in the kernel.", name="ring_size", example='"1MiB"'
    )
    rate_max: int = key(
        Integer(), RATE_MAX, "Records of a stream in a second at most; the rest is counted. 0: no bound."
    )
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def selection(self) -> Selection:
        """Give whose events count."""
        return Selection(
            self.pid,
            children=self.children,
            cgroup=self.cgroup,
            comm=self.comm,
            own=self.own,
            interfaces=self.interfaces,
            exclude_interfaces=self.exclude_interfaces,
        )

    def runs(self, probe: Probe) -> Iterator[RunConfig]:
        """Give what is to be run of the probe."""
        for name in self.output if self.enabled else ():
            output = probe.output(name)
            is_stream = isinstance(output, Stream)
            yield RunConfig(
                probe=probe.name,
                output=name,
                values={
                    knob.name: self.values[knob.name]
                    for knob in probe.knobs
                    if knob.name in self.values and knob.goes_with(output)
                },
                selection=self.selection,
                max_entries=self.ring_size_bytes if is_stream else self.max_entries,
                rate_max=(self.rate_max or None) if is_stream else None,
            )

    def problems(self, probe: Probe) -> Iterator[tuple[Path, str]]:
        """Find what cannot be: the key, and the reason."""
        path: Path = ("probes", probe.name)
        if self.children and self.pid is None:
            yield (*path, "children"), "it goes with pid: give one"
        if not self.output:
            yield (*path, "output"), f"it is empty: give of {_names(probe)}, or enabled = false"
        if self.interfaces:
            yield from (((*path, "interfaces"), why) for why in _absent(self.interfaces))
        outputs = [probe.output(name) for name in self.output]
        for knob in probe.knobs:
            if self.values.get(knob.name) and not any(knob.goes_with(output) for output in outputs):
                why = (
                    f"it goes with output {' or '.join(knob.outputs)}, and output is {', '.join(self.output)}"
                )
                yield (*path, knob.name), why


def _absent(interfaces: tuple[str | int, ...]) -> Iterator[str]:
    """Say of an interface that is named exactly that it is not there."""
    from sonde.errors import AttachError, KernelError
    from sonde.run.choice import require_interfaces

    try:
        require_interfaces(interfaces)
    except (AttachError, KernelError) as error:
        yield f"{error.why}: {error.hint}"


def outputs_by_default(probe: Probe) -> tuple[str, ...]:
    """Name what is read of a probe that is told nothing."""
    return probe.unattended or (probe.outputs[0].name,)


def probe_keys(probe: Probe) -> dict[Path, Key]:
    """Find all keys of a probe's section: those of every probe, and its knobs."""
    from dataclasses import replace

    path: Path = ("probes", probe.name)
    found = keys_of(ProbeConfig, path)
    found[*path, "enabled"] = replace(found[*path, "enabled"], default=bool(probe.unattended))
    found[*path, "output"] = replace(
        found[*path, "output"],
        kind=Several(Choice(tuple(output.name for output in probe.outputs), noun=f"output of {probe.name}")),
        default=outputs_by_default(probe),
        text=f"What is read of it, one or more of: {_names(probe)}.",
    )
    for names, fit in ((OF_PROCESSES, probe.selects_processes), (OF_INTERFACES, probe.on_interfaces)):
        for name in () if fit else names:
            del found[*path, name]
    if not probe.streams:
        del found[*path, "rate_max"], found[*path, "ring_size"]
    for knob in probe.knobs:
        if (*path, knob.name) in found:
            # What every probe has goes before a knob of the same name, and sets it.
            continue
        kind = KnobKind(knob)
        text = f"{knob.help[0].upper()}{knob.help[1:]}."
        default = False if knob.type is bool else knob.default
        found[*path, knob.name] = Key(knob.name, knob.name, kind, default, text, example=kind.example())
    return found


def probe_config(probe: Probe, values: Mapping[Path, Any]) -> ProbeConfig:
    """Make a probe's section of the values of its keys: a probe that is named runs, unless that is said."""
    path: Path = ("probes", probe.name)
    known = {each.name: each for each in fields(ProbeConfig)}
    given: dict[str, Any] = {"enabled": bool(probe.unattended), "output": outputs_by_default(probe)}
    knobs: dict[str, Any] = {}
    for name, each in probe_keys(probe).items():
        if name in values:
            given["enabled"] = True
            if each.field in known:
                given[each.field] = values[name]
            elif values[name] != each.default:
                knobs[each.name] = values[name]
    if (*path, "enabled") in values:
        given["enabled"] = values[*path, "enabled"]
    return ProbeConfig(**given, values=knobs)


def _names(probe: Probe) -> str:
    return ", ".join(output.name for output in probe.outputs)
