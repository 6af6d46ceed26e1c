"""Programs: before they are loaded (ProgramSpec) and in the kernel (Program)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import check
from sonde.bpf.handle import ObjectHandle
from sonde.bpf.program_info import ProgramInfo
from sonde.errors import KernelError, SondeError

if TYPE_CHECKING:
    from sonde.bpf.link import Hook, Link


def _text(pointer: Any) -> str:
    return ffi.string(pointer).decode() if pointer else ""


def program_types() -> dict[str, int]:
    """Name every program type that this libbpf knows: ``{"xdp": 6, …}``."""
    types: dict[str, int] = {}
    while name := _text(lib.libbpf_bpf_prog_type_str(len(types))):
        types[name] = len(types)
    return types


def attach_types() -> dict[str, int]:
    """Name every attach type that this libbpf knows: ``{"cgroup_inet_ingress": 0, …}``."""
    types: dict[str, int] = {}
    while name := _text(lib.libbpf_bpf_attach_type_str(len(types))):
        types[name] = len(types)
    return types


def wait_for_programs() -> None:
    """Wait until no program that began before this call is still running (membarrier(2), Linux 4.3)."""
    lib.sonde_membarrier_global()


class ProgramSpec:
    """A program of an opened object, which can still be changed."""

    __slots__ = ("_handle", "_pointer")

    def __init__(self, handle: ObjectHandle, pointer: Any) -> None:
        self._handle = handle
        self._pointer = pointer

    def _live(self) -> Any:
        _ = self._handle.pointer
        return self._pointer

    @property
    def name(self) -> str:
        """Name of the C function."""
        return _text(lib.bpf_program__name(self._live()))

    @property
    def section(self) -> str:
        """ELF section, as SEC() in C names it: ``tracepoint/syscalls/sys_enter_openat``."""
        return _text(lib.bpf_program__section_name(self._live()))

    @property
    def type(self) -> str:
        """Kind of program, as libbpf names it: ``tracepoint``, ``xdp``, ``tracing``; can be set."""
        return _text(lib.libbpf_bpf_prog_type_str(lib.bpf_program__type(self._live())))

    @type.setter
    def type(self, name: str) -> None:
        types = program_types()
        if name not in types:
            raise SondeError(
                f"set the type of program {self.name}",
                why=f"there is no program type {name!r}",
                hint=f"valid: {', '.join(sorted(types))}",
            )
        check(lib.bpf_program__set_type(self._live(), types[name]), "set the type of program", self.name)
        # A program moved from one hook to another takes no attach type along (tp_btf to raw_tp, fentry to kprobe).
        check(lib.bpf_program__set_expected_attach_type(self._live(), 0), "set the attach type of", self.name)

    @property
    def expected_attach_type(self) -> str:
        """Attach type that the program is loaded for, as libbpf names it: ``trace_raw_tp``; can be set."""
        return _text(lib.libbpf_bpf_attach_type_str(lib.bpf_program__expected_attach_type(self._live())))

    @expected_attach_type.setter
    def expected_attach_type(self, name: str) -> None:
        number = attach_types().get(name)
        if number is None:
            hint = f"valid: {', '.join(sorted(attach_types()))}"
            raise SondeError(
                f"set the attach type of {self.name}", why=f"there is no attach type {name!r}", hint=hint
            )
        result = lib.bpf_program__set_expected_attach_type(self._live(), number)
        check(result, "set the attach type of", self.name)

    def offload_to(self, interface_index: int) -> None:
        """Load the program into a network card, which has to be able to run it; XDP and TC."""
        lib.bpf_program__set_ifindex(self._live(), interface_index)

    @property
    def autoload(self) -> bool:
        """Whether load() loads this program; can be set."""
        return bool(lib.bpf_program__autoload(self._live()))

    @autoload.setter
    def autoload(self, value: bool) -> None:
        check(lib.bpf_program__set_autoload(self._live(), value), "set autoload of program", self.name)

    @property
    def attach_target(self) -> str | None:
        """Kernel function, tracepoint or LSM hook that a BTF-typed program is loaded for; can be set."""
        return self._handle.targets.get(self.name) or self.section.partition("/")[2] or None

    @attach_target.setter
    def attach_target(self, target: str) -> None:
        result = lib.bpf_program__set_attach_target(self._live(), 0, target.encode())
        check(
            result,
            "set the attach target of program",
            f"{self.name} to {target}",
            hint="the kernel's BTF has to know it, and the program's type has to take one",
        )
        self._handle.targets[self.name] = target

    @property
    def instruction_count(self) -> int:
        """Instructions as compiled, before libbpf adds the subprograms."""
        return int(lib.bpf_program__insn_cnt(self._live()))

    @property
    def flags(self) -> int:
        """BPF_F_* flags of the program; can be set."""
        return int(lib.bpf_program__flags(self._live()))

    @flags.setter
    def flags(self, value: int) -> None:
        check(lib.bpf_program__set_flags(self._live(), value), "set the flags of program", self.name)

    def __repr__(self) -> str:
        return f"<ProgramSpec {self.name} SEC({self.section!r})>"


ROOM_BYTES = 512
"""What a test run may add to a packet, and more than any context struct has."""


@dataclass(frozen=True, slots=True)
class TestRun:
    """What a program did with the input of ``test_run``; ``duration_ns`` is the mean of the repetitions."""

    return_value: int
    data: bytes
    context: bytes
    duration_ns: int

    __test__ = False  # not a pytest class


class Program(ProgramInfo):
    """A program in the kernel; closed with its object."""

    __slots__ = ("_handle", "_pointer", "name", "section", "type")

    def __init__(self, handle: ObjectHandle, pointer: Any) -> None:
        self._handle = handle
        self._pointer = pointer
        self.name = _text(lib.bpf_program__name(pointer))
        self.section = _text(lib.bpf_program__section_name(pointer))
        self.type = _text(lib.libbpf_bpf_prog_type_str(lib.bpf_program__type(pointer)))

    @property
    def pointer(self) -> Any:
        """Give the ``struct bpf_program *``; raises SondeError when the object is closed."""
        _ = self._handle.pointer
        return self._pointer

    @property
    def handle(self) -> ObjectHandle:
        """Give the owner, which closes the program and the links made from it."""
        return self._handle

    @property
    def attach_target(self) -> str | None:
        """Kernel function, tracepoint or LSM hook that it was loaded for; None where its type has none."""
        return self._handle.targets.get(self.name) or self.section.partition("/")[2] or None

    @property
    def fd(self) -> int:
        """Give the descriptor; it belongs to the object."""
        fd = int(lib.bpf_program__fd(self.pointer))
        if fd < 0:
            raise SondeError(
                f"use program {self.name}", why="it was not loaded", hint="set autoload before load()"
            )
        return fd

    def test_run(self, data: bytes = b"", *, ctx: bytes = b"", repeat: int = 1) -> TestRun:
        """Run the program on ``data`` (a packet) or ``ctx`` (its context struct), ``repeat`` times.

        Raises NotSupportedError where the kernel cannot test-run this type. Packets need 14 bytes or more; of the
        context struct the first members are enough, and the kernel's whole struct comes back.
        """
        options = ffi.new("struct bpf_test_run_opts *")
        options.sz = ffi.sizeof("struct bpf_test_run_opts")
        data_in, ctx_in = ffi.new("char[]", bytes(data)), ffi.new("char[]", bytes(ctx))
        data_out, ctx_out = (
            ffi.new("char[]", len(data) + ROOM_BYTES),
            ffi.new("char[]", len(ctx) + ROOM_BYTES),
        )
        # The kernel refuses room for a context that it cannot change, or changes where it is.
        writes_context = self.type not in ("raw_tracepoint", "syscall")
        if data:
            options.data_in, options.data_size_in = data_in, len(data)
            options.data_out, options.data_size_out = data_out, len(data) + ROOM_BYTES
        if ctx:
            options.ctx_in, options.ctx_size_in = ctx_in, len(ctx)
            if writes_context:
                options.ctx_out, options.ctx_size_out = ctx_out, len(ctx) + ROOM_BYTES
        if self.type not in ("raw_tracepoint", "syscall", "tracing"):
            options.repeat = repeat
            repeat = 1
        for _ in range(repeat):
            check(lib.bpf_prog_test_run_opts(self.fd, options), "test-run program", self.name)
        return TestRun(
            return_value=int(options.retval),
            data=bytes(ffi.buffer(data_out, options.data_size_out if data else 0)),
            context=bytes(
                ffi.buffer(ctx_out, options.ctx_size_out) if writes_context else ffi.buffer(ctx_in, len(ctx))
            ),
            duration_ns=int(options.duration),
        )

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Pin the program into a BPF file system; the pin stays when the object closes."""
        target = os.fspath(path)
        check(
            lib.bpf_program__pin(self.pointer, target.encode()),
            "pin program",
            f"{self.name} to {target}",
            hint="the path has to lie in a BPF file system (mount -t bpf bpf /sys/fs/bpf)",
        )

    def unpin(self, path: str | os.PathLike[str]) -> None:
        """Remove a pin."""
        target = os.fspath(path)
        check(
            lib.bpf_program__unpin(self.pointer, target.encode()),
            "unpin program",
            f"{self.name} from {target}",
        )

    def attach(self, hook: Hook | None = None) -> Link:
        """Attach to ``hook``, or as the section says; the link closes with the object at the latest."""
        if hook is None:
            from sonde.bpf.link.section import Section

            hook = Section()
        link = hook.attach(self)
        self._handle.adopt(link)
        return link

    def __repr__(self) -> str:
        return f"<Program {self.name} {self.type}>"


class RunStatistics:
    """Counts runs and time of all programs of this machine while it is open; a context manager.

    It doubles the cost of an empty program (DESIGN.md, "Cost"): open it for short windows. Linux 5.8.
    """

    __slots__ = ("_fd",)

    def __init__(self) -> None:
        try:
            self._fd = check(lib.bpf_enable_stats(lib.BPF_STATS_RUN_TIME), "enable BPF run statistics")
        except KernelError as error:
            error.hint = error.hint or "CAP_SYS_ADMIN is needed"
            raise

    def close(self) -> None:
        """Stop counting, unless others do."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> RunStatistics:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
