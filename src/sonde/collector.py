"""The founding document's collector: load, attach, read, close, with nothing left behind."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, Self, overload

from sonde.bpf.link.link import Link
from sonde.bpf.link.tracepoint import Tracepoint
from sonde.bpf.object import Object, ObjectSpec
from sonde.bpf.program import Program
from sonde.errors import AttachError, SondeError

DOCUMENT_SYSCALLS = ("openat", "read", "write", "connect")
"""The four system calls of the document's §1.3.3."""

COUNTS = "syscall_count"
"""The map of the document's program (§1.3.1)."""


class Collector:
    """Owns one BPF object and its links, or sonde's own ``syscalls`` probe; a context manager.

    It is a thin owner over ``sonde.bpf`` and ``sonde.run``: use those for anything that it does not have. Needs
    CAP_BPF and CAP_PERFMON.
    """

    def __init__(self) -> None:
        self._object: Object | None = None
        self._run: Any = None

    # ---- any object -----------------------------------------------------------------------------------------

    def load(
        self, path: str | os.PathLike[str], *, strict: bool = False, sha256: str | None = None
    ) -> Object:
        """Load an object safely (see ``ObjectSpec.open``) in the place of what there was before, which is closed.

        Raises UnsafeObjectError, VerifierError, PermissionDeniedError or KernelError; then the one before stays.
        """
        with ObjectSpec.open(path, strict=strict, sha256=sha256) as spec:
            loaded = spec.load()
        self.close()
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

    def trace_syscalls(self, names: Iterable[str] = DOCUMENT_SYSCALLS) -> None:
        """Count these system calls per process, from now on.

        With an object loaded, its program is attached to ``sys_enter_NAME`` of each, as in the document; without
        one, sonde's own probe ``syscalls`` counts them. A second call counts these instead of the former ones.
        """
        wanted = tuple(names)
        if self._object is not None:
            self._attach_each(wanted)
            return
        from sonde.probes import probe
        from sonde.run import Run

        run = Run(probe("syscalls"), "counts", values={"syscall": wanted})
        run.start()
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

        maps: Mapping[str, Any] = self.loaded.maps
        if COUNTS not in maps:
            raise SondeError(
                "read the counts", why=f"the object has no map {COUNTS}", hint="call trace_syscalls()"
            )
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

    # ---- life -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Detach and free everything; again is fine."""
        if self._run is not None:
            self._run.close()
            self._run = None
        if self._object is not None:
            self._object.close()
            self._object = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
