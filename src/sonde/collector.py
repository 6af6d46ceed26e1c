"""The founding document's collector: load, attach, read, close, with nothing left behind."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from sonde.bpf.codec import as_dict
from sonde.bpf.link.link import Link
from sonde.bpf.link.tracepoint import Tracepoint
from sonde.bpf.object import Object, ObjectSpec
from sonde.bpf.program import Program
from sonde.errors import AttachError, SondeError
from sonde.records.totals import SERIES_MAX

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

    from sonde.exporters.counts import CountsSource
    from sonde.exporters.instruments import Instruments
    from sonde.records.performance import PerformanceStats
    from sonde.run import Run

DOCUMENT_SYSCALLS = ("openat", "read", "write", "connect")
"""The four system calls of the document's §1.3.3."""

COUNTS = "syscall_count"
"""The map of the document's program (§1.3.1)."""

PACKETS = "packet_count"
"""The map of the document's other program (§1.3.4): by protocol, packets or a struct that has them."""


class Collector:
    """Owns one BPF object and its links, or sonde's own ``syscalls`` probe; a context manager.

    It is a thin owner over ``sonde.bpf`` and ``sonde.run``: use those for anything that it does not have. Needs
    CAP_BPF and CAP_PERFMON.
    """

    def __init__(self) -> None:
        self._object: Object | None = None
        self._run: Any = None
        self._packets: Run | None = None
        self._profile: Run | None = None
        self._exported: list[tuple[Instruments, CountsSource]] = []

    # ---- any object -----------------------------------------------------------------------------------------

    def load(
        self, path: str | os.PathLike[str], *, strict: bool = False, sha256: str | None = None
    ) -> Object:
        """Load an object safely (see ``ObjectSpec.open``) in the place of what there was before, which is closed.

        Raises UnsafeObjectError, VerifierError, PermissionDeniedError or KernelError; then the one before stays.
        """
        if not isinstance(path, str | os.PathLike):
            raise SondeError("load an object", why=f"{path!r} is no path", hint="give that of a .bpf.o file")
        with ObjectSpec.open(path, strict=strict, sha256=sha256) as spec:
            loaded = spec.load()
        with self._replacing():
            self._free()
            self._object = loaded
        return loaded

    @property
    def loaded(self) -> Object:
        """The loaded object; raises SondeError when there is none."""
        if self._object is None:
            raise SondeError("use the collector's object", why="none is loaded", hint="call load(path)")
        return self._object

    def attach_tracepoint(self, name: str, program: str | None = None) -> Link:
        """Attach a program to a tracepoint: ``sys_enter_openat`` or ``syscalls/sys_enter_openat``.

        ``program`` may be left out when the object has one tracepoint program, or one whose section names this
        tracepoint. Raises AttachError. The link closes with the collector at the latest.
        """
        return self._tracepoint_program(name, program).attach(Tracepoint(name))

    def _tracepoint_program(self, name: str, program: str | None) -> Program:
        programs = self.loaded.programs
        if program is not None:
            if program in programs:
                return programs[program]
            why, valid = f"the object has no program {program}", programs
        else:
            fit = {key: each for key, each in programs.items() if each.type == "tracepoint"}
            named = {
                key: each
                for key, each in fit.items()
                if each.section.rpartition("/")[2] == name.rpartition("/")[2]
            }
            for only in (named, fit):
                if len(only) == 1:
                    return next(iter(only.values()))
            why = f"the object has {len(fit) or 'no'} tracepoint programs"
            valid = fit
        hint = f"name one: {', '.join(valid)}" if valid else ""
        raise AttachError(f"attach to tracepoint {name}", why=why, hint=hint, hook=name)

    # ---- system calls ---------------------------------------------------------------------------------------

    def trace_syscalls(self, names: str | Iterable[str] = DOCUMENT_SYSCALLS) -> None:
        """Count these system calls, or this one, per process, from now on.

        With an object loaded, its program is attached to ``sys_enter_NAME`` of each, as in the document; without
        one, sonde's own probe ``syscalls`` counts them. A second call counts these instead of the former ones. Raises
        KnobError for a name that is none, AttachError, and SondeError for what is no name.
        """
        from sonde.enrich.syscall_name import names_of

        wanted = names_of(names)
        if self._object is not None:
            self._attach_each(wanted)
            return
        from sonde.probes import probe
        from sonde.run import Run

        run = Run(probe("syscalls"), "counts", values={"syscall": wanted})
        run.start()
        with self._replacing():
            previous, self._run = self._run, run
            if previous is not None:
                previous.close()

    def _attach_each(self, names: tuple[str, ...]) -> None:
        former = [link for link in self.loaded.links if isinstance(link.hook, Tracepoint)]
        links: list[Link] = []
        try:
            for name in names:
                links.append(self.attach_tracepoint(f"syscalls/sys_enter_{name}"))
        except BaseException:
            for link in links:
                link.close()
            raise
        for link in former:
            link.close()

    @overload
    def syscall_stats(self) -> dict[int, int]: ...
    @overload
    def syscall_stats(self, *, by_syscall: Literal[True]) -> dict[tuple[int, str], int]: ...

    def syscall_stats(self, *, by_syscall: bool = False) -> Mapping[Any, int]:
        """Read the counts so far: {pid: calls}, or {(pid, system call): calls}.

        Cumulative since ``trace_syscalls``. What found the map full is under pid 0 (and ``"other"``). Raises
        SondeError when nothing is traced, or when the loaded object does not tell calls apart.
        """
        stats: dict[Any, int] = {}
        for pid, syscall, count in self._counts():
            if by_syscall and syscall is None:
                raise SondeError(
                    "tell system calls apart",
                    why=f"the keys of map {COUNTS} hold none",
                    hint="key it by pid and system call, or use the probe: do not load an object",
                )
            key = (pid, syscall) if by_syscall else pid
            stats[key] = stats.get(key, 0) + count
        return stats

    def _counts(self) -> Iterator[tuple[int, str | None, int]]:
        if self._run is not None:
            for row in self._run.read().rows(("pid", "syscall", "count")):
                yield row["pid"] or 0, row["syscall"], row["count"]
            return
        yield from self._object_counts()

    def _object_counts(self) -> Iterator[tuple[int, str | None, int]]:
        from sonde.enrich.syscall_name import syscall_name

        self._require_counts()
        maps: Mapping[str, Any] = self.loaded.maps
        entries = maps[COUNTS].totals() if maps[COUNTS].per_cpu else maps[COUNTS]
        for key, count in entries.items():
            if isinstance(key, int):
                yield key, None, count
            else:
                yield key.pid, syscall_name(key.syscall), count
        if "syscalls_other" in self.loaded.variables:
            other = self.loaded.variables["syscalls_other"].value
            if other:
                yield 0, "other", other

    def _require_counts(self) -> None:
        if COUNTS not in self.loaded.maps:
            raise SondeError(
                "read the counts", why=f"the object has no map {COUNTS}", hint="call trace_syscalls()"
            )

    # ---- packets --------------------------------------------------------------------------------------------

    def monitor_packets(self, *interfaces: str | int) -> None:
        """Count what passes these network interfaces by protocol, from now on; all but loopback if none is named.

        With an object loaded that has an XDP program, that is attached to each, as in the document, and counts what
        comes in; else sonde's own probe ``packets`` counts both ways, also on interfaces that come later. Every packet
        is passed on. A second call counts these instead of the former ones. Raises AttachError, and
        PermissionDeniedError: it needs CAP_NET_ADMIN.
        """
        if self._object is not None and (program := _xdp_program(self._object)) is not None:
            _attach_to_interfaces(self._object, program, interfaces)
            return
        from sonde.probe import Selection
        from sonde.probes import probe
        from sonde.run import Run

        run = Run(probe("packets"), "protocols", selection=Selection(interfaces=interfaces))
        run.start()
        previous, self._packets = self._packets, run
        if previous is not None:
            previous.close()

    def packet_stats(
        self,
        *,
        of: Literal["packets", "bytes"] = "packets",
        direction: Literal["ingress", "egress"] | None = None,
    ) -> dict[str, int]:
        """Read how many packets there were so far by protocol, ``{"TCP": 12, "IPv6-ICMP": 3, "ARP": 1}``, or bytes.

        Cumulative since ``monitor_packets``, of all its interfaces; both ways, or one ``direction``. A loaded object's
        program counts what comes in alone, and tells bytes only if it counts any. Raises SondeError when nothing is
        monitored.
        """
        if self._packets is None and self._object is None:
            raise SondeError("read the packets", why="nothing is monitored", hint="call monitor_packets()")
        if self._packets is None:
            return {} if direction == "egress" else _object_packets(self.loaded, of)
        stats: dict[str, int] = {}
        for row in self._packets.read().rows(("direction", "protocol", of)):
            if row[of] and (direction is None or row["direction"] == direction):
                stats[row["protocol"]] = stats.get(row["protocol"], 0) + row[of]
        return stats

    # ---- CPU profile ----------------------------------------------------------------------------------------

    def profile_cpu(self, duration: float, frequency: int = 100) -> Iterator[PerformanceStats]:
        """Sample what runs on all CPUs, from now on, and give the statistics so far every second.

        It ends after ``duration`` seconds with the final ones; so does a loop that is left before, for
        ``performance_stats``. ``frequency`` is 1 to 999 times a second and CPU. A second profile takes the first one's
        place. Raises KnobError, and SondeError where the duration is none.
        """
        # A text, as the command line takes one, is refused in words, too.
        if isinstance(duration, str) or not 0 < duration < math.inf:
            raise SondeError(
                "profile the CPUs", why=f"{duration} is no duration", hint="give seconds, more than 0"
            )
        from sonde.probes import probe
        from sonde.run import Run

        run = Run(probe("cpu"), values={"frequency": frequency})
        run.start()
        previous, self._profile = self._profile, run
        if previous is not None:
            previous.close()
        return _profile(run, duration)

    def performance_stats(self) -> PerformanceStats:
        """Read the statistics of the profile, so far or, when it has ended, final; SondeError where there is none."""
        from sonde.records.performance import PerformanceStats

        if self._profile is None:
            raise SondeError("read the profile", why="there is none", hint="call profile_cpu(duration)")
        return PerformanceStats.of(self._profile.read())

    # ---- OpenTelemetry --------------------------------------------------------------------------------------

    def export_to_opentelemetry(self, meter: Meter, *, series_max: int = SERIES_MAX) -> Instruments:
        """Give the counts to a meter: ``ebpf.syscall.count`` by ``pid``; the meter's reader sets the interval.

        They are cumulative from now on, over later calls of ``trace_syscalls`` and ``load``, until the collector is
        closed. What it gives tells of errors, which are logged, too; ``series_max`` is explained there. What finds
        the map full, and pids beyond the bound, are in the series marked ``otel.metric.overflow``. Raises SondeError
        where an object is loaded that has no counts.
        """
        if self._object is not None and self._run is None:
            self._require_counts()
        from sonde.exporters.counts import CountsSource
        from sonde.exporters.instruments import DOCUMENT_METRIC, Instruments

        source = CountsSource(self.syscall_stats)
        instruments = Instruments(meter, [DOCUMENT_METRIC], source.read, series_max=series_max)
        self._exported.append((instruments, source))
        return instruments

    @contextmanager
    def _replacing(self) -> Iterator[None]:
        """Read what is about to be freed a last time: the counts after it begin at nothing."""
        with ExitStack() as held:
            if self._object is not None or self._run is not None:
                for instruments, source in self._exported:
                    held.enter_context(instruments.last_reading())
                    source.renew()
            yield

    # ---- life -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Detach and free everything; again is fine. Meters that the counts were exported to get no more."""
        for instruments, _ in self._exported:
            instruments.close()
        self._exported.clear()
        self._free()

    def _free(self) -> None:
        for run in (self._run, self._packets, self._profile):
            if run is not None:
                run.close()
        self._run = self._packets = self._profile = None
        if self._object is not None:
            self._object.close()
            self._object = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _profile(run: Run, duration_s: float) -> Iterator[PerformanceStats]:
    """Give a profile's statistics at each second, and at its end."""
    from sonde.records.performance import PerformanceStats

    begun = time.monotonic()
    try:
        for second in range(1, math.ceil(duration_s)):
            time.sleep(max(0.0, begun + second - time.monotonic()))
            if run.loaded.closed:
                return
            yield PerformanceStats.of(run.read())
        time.sleep(max(0.0, begun + duration_s - time.monotonic()))
    finally:
        if not run.loaded.closed:
            run.stop()
    if not run.loaded.closed:
        yield PerformanceStats.of(run.read())


def _xdp_program(loaded: Object) -> Program | None:
    return next((each for each in loaded.programs.values() if each.type == "xdp"), None)


def _attach_to_interfaces(loaded: Object, program: Program, names: tuple[str | int, ...]) -> None:
    """Attach to these and let go of others; where one cannot be had all stays as it was."""
    from sonde.bpf.link.interface import interfaces
    from sonde.bpf.link.xdp import Xdp
    from sonde.run.choice import Choice

    here, choice = interfaces(), Choice(names, ())
    choice.require(here)
    wanted = [each.index for each in here if choice.takes(each, here)]
    former = {link.interface_index: link for link in loaded.links if isinstance(link.hook, Xdp)}
    made: list[Link] = []
    try:
        for index in wanted:
            if index not in former:
                made.append(program.attach(Xdp(index)))
    except BaseException:
        for link in made:
            link.close()
        raise
    for link in former.values():
        if link.interface_index not in wanted:
            link.close()


def _object_packets(loaded: Object, of: str) -> dict[str, int]:
    from sonde.enrich.protocol_name import ip_protocol_name

    maps: Mapping[str, Any] = loaded.maps
    if PACKETS not in maps:
        raise SondeError(
            "read the packets", why=f"the object has no map {PACKETS}", hint="call monitor_packets()"
        )
    entries = maps[PACKETS].totals() if maps[PACKETS].per_cpu else maps[PACKETS]
    members = {"packets": ("packets", "count"), "bytes": ("bytes", "size_bytes")}[of]
    stats = {}
    for number, value in entries.items():
        counts = {"packets": value} if isinstance(value, int) else as_dict(value)
        found = [counts[name] for name in members if name in counts]
        if not found:
            raise SondeError(f"read the {of}", why=f"the values of map {PACKETS} hold none")
        stats[ip_protocol_name(number)] = int(found[0])
    return stats
