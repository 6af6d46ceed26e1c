"""The smallest things that can be tried on a kernel: programs of two instructions, maps of one entry.

Nothing stays: each is closed before its function returns. An answer of the kernel is an OSError with its errno;
``AbsentError`` says that a feature is missing, ``UntriedError`` that it could not be tried, both without an errno.
"""

from __future__ import annotations

import errno
import functools
import mmap
import os
import re
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sonde._libbpf import ffi, lib, log

RETURN_ZERO = struct.pack("<QQ", 0x00000000000000B7, 0x0000000000000095)
"""``r0 = 0; exit``"""

EVENT_SOURCES = "/sys/bus/event_source/devices"
KERNEL_BTF = "/sys/kernel/btf/vmlinux"
LOG_SIZE_BYTES = 1 << 16
LOOPBACK = 1

_SYS_BPF = {"x86_64": 321, "aarch64": 280}


class AbsentError(Exception):
    """The kernel lacks the feature; the message says how that shows."""


class UntriedError(Exception):
    """The feature could not be tried; the message says why."""


@contextmanager
def program(section: str, *, target: str = "", code: bytes = RETURN_ZERO) -> Iterator[int]:
    """Load a program of the type that ``section`` names; gives its descriptor, closed at the end.

    ``target`` is the kernel function, tracepoint or iterator that types with BTF need. Raises OSError or AbsentError.
    """
    fd, _ = _load(section, target=target, code=code)
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd))
    try:
        yield fd
    finally:
        os.close(fd)


def load(section: str, *, target: str = "") -> None:
    """Load a program and drop it."""
    with program(section, target=target):
        pass


def helper(section: str, number: int, *, target: str = "") -> None:
    """Ask the verifier for a helper in a type of program; raises AbsentError if it knows none.

    The call has no arguments, so that even a known helper is refused: what counts is for what.
    """
    call = struct.pack("<BBhi", 0x85, 0, 0, number) + RETURN_ZERO
    fd, text = _load(section, target=target, code=call)
    if fd >= 0:
        os.close(fd)
    elif -fd in (errno.EPERM, errno.ENOMEM):
        raise OSError(-fd, os.strerror(-fd))
    elif unknown := re.search(
        r"^(?:unknown func|invalid func|program of this type cannot use helper).*", text, re.MULTILINE
    ):
        raise AbsentError(f"the verifier says: {unknown[0]}")


def map_type(number: int) -> None:
    """Create a map of a type as libbpf does it; raises AbsentError if it cannot be created."""
    with log.capture():
        result = lib.libbpf_probe_bpf_map_type(number, ffi.NULL)
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    if result == 0:
        raise AbsentError("no map of this type can be created")


def map_on_demand(section: str) -> None:
    """Load a program that refers to a hash whose entries are allocated when they are made."""
    options = ffi.new("struct bpf_map_create_opts *")
    options.sz, options.map_flags = ffi.sizeof("struct bpf_map_create_opts"), lib.BPF_F_NO_PREALLOC
    fd = check(lib.bpf_map_create(lib.BPF_MAP_TYPE_HASH, ffi.NULL, 4, 8, 1, options))
    try:
        pseudo_map_fd = 1
        # r1 = the map, an instruction of two words
        with program(
            section, code=struct.pack("<BBhiQ", 0x18, pseudo_map_fd << 4 | 1, 0, fd, 0) + RETURN_ZERO
        ):
            pass
    finally:
        os.close(fd)


def batch(type_number: int) -> None:
    """Read a map by a batched system call; raises AbsentError if the kernel has none for this type."""
    fd = check(lib.bpf_map_create(type_number, ffi.NULL, 4, 8, 1, ffi.NULL))
    try:
        cursor, count = ffi.new("struct sonde_cursor *"), ffi.new("uint32_t *")
        keys, values = ffi.new("char[8]"), ffi.new("char[]", 8 * lib.libbpf_num_possible_cpus())
        check(lib.sonde_map_read(fd, cursor, 4, len(values), keys, values, 1, count))
        if cursor.by_key:
            raise AbsentError("a batched read of such a map is refused")
    finally:
        os.close(fd)


def raw_tracepoint(program_fd: int, name: str | None) -> None:
    """Attach a program to a raw tracepoint, or by its BTF target (None), and detach it."""
    _close(lib.bpf_raw_tracepoint_open(ffi.NULL if name is None else name.encode(), program_fd))


def link(program_fd: int, target: int, attach_type: int, *, flags: int = 0, rest: bytes = b"") -> None:
    """Create a link and close it; ``rest`` is what follows in ``union bpf_attr``, from ``link_create.iter_info`` on.

    The bare system call: cffi cannot declare the unnamed structs in libbpf's options.
    """
    import ctypes  # here and below: processes that stay for weeks try less than this

    attributes = struct.pack("=IiII", program_fd, target, attach_type, flags) + rest
    bpf_link_create = 28
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(_SYS_BPF[os.uname().machine], bpf_link_create, attributes, len(attributes))
    _close(result if result >= 0 else -ctypes.get_errno())


def expect(number: int, action: Callable[[], None]) -> None:
    """Run an action that must fail with this errno: the kernel knows the operation and finds its target missing."""
    try:
        action()
    except OSError as error:
        if error.errno != number:
            raise


def perf_event(source: str, *, text: str = "", config: int = 0, offset: int = 0, pid: int = -1) -> None:
    """Open a perf event of a source that sysfs names (kprobe, uprobe, software, tracepoint), and close it.

    With ``pid`` 0 it is for this process on any CPU, else for all on CPU 0.
    """
    event = ffi.new("struct sonde_perf_event *")
    argument = ffi.new("char[]", text.encode()) if text else ffi.NULL
    event.type = _event_type(source)
    event.config = config
    event.config1 = int(ffi.cast("uintptr_t", argument))
    event.config2 = offset
    event.period = 1_000_000_000
    event.pid = pid
    event.cpu = -1 if pid == 0 else 0
    _close(lib.sonde_perf_event_open(event))


def in_own_network(action: Callable[[], None]) -> None:
    """Run an action on a thread that has a network namespace of its own: with ``LOOPBACK``, which is down, and no more."""
    import ctypes

    raised: list[BaseException] = []

    def run() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            clone_newnet = 0x40000000
            if libc.unshare(clone_newnet) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            action()
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            raised.append(error)

    thread = threading.Thread(target=run, name="sonde-trial")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def check(result: int) -> int:
    """Give back a result that is not negative; raise OSError for a negative errno."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def own_entry_point() -> int:
    """Find the file offset of this executable's first instruction, which has run for the last time."""
    with open("/proc/self/exe", "rb") as file:
        header = file.read(64)
        entry, table = struct.unpack_from("=QQ", header, 24)
        size, count = struct.unpack_from("=HH", header, 54)
        file.seek(table)
        for segment in (file.read(size) for _ in range(count)):
            kind, _, offset, address, _, file_bytes = struct.unpack_from("=IIQQQQ", segment)
            if kind == 1 and address <= entry < address + file_bytes:
                return int(entry - address + offset)
    raise UntriedError("the interpreter has no entry point")


@functools.cache
def kernel_btf_has(name: str) -> bool:
    """Tell whether the kernel's BTF has a string: a function, type or enumerator of this name."""
    if not os.path.exists(KERNEL_BTF):
        return False
    with open(KERNEL_BTF, "rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as text:
                return text.find(b"\0" + name.encode() + b"\0") >= 0
        except OSError:  # mapped only since Linux 6.16 (kernel commit a539e2a6d51d)
            return b"\0" + name.encode() + b"\0" in file.read()


def _load(section: str, *, target: str, code: bytes) -> tuple[int, str]:
    """Load; the descriptor or negative errno, and the verifier's log."""
    types = ffi.new("enum bpf_prog_type *"), ffi.new("enum bpf_attach_type *")
    options = ffi.new("struct bpf_prog_load_opts *")
    options.sz = ffi.sizeof("struct bpf_prog_load_opts")
    text = ffi.new("char[]", LOG_SIZE_BYTES)
    options.log_buf, options.log_size, options.log_level = text, LOG_SIZE_BYTES, 1
    with log.capture():
        check(lib.libbpf_prog_type_by_name(section.encode(), *types))
        options.expected_attach_type = int(types[1][0])
        if target:
            options.attach_btf_id = _btf_id(target, int(types[1][0]))
        instructions = ffi.cast("const struct bpf_insn *", ffi.from_buffer(code))
        fd = lib.bpf_prog_load(int(types[0][0]), ffi.NULL, b"GPL", instructions, len(code) // 8, options)
    return fd, ffi.string(text).decode(errors="replace")


@functools.cache
def _btf_id(target: str, attach_type: int) -> int:
    if not os.path.exists(KERNEL_BTF):
        raise AbsentError("the kernel has no BTF")
    number = lib.libbpf_find_vmlinux_btf_id(target.encode(), attach_type)
    if number == -errno.ENOENT:
        raise AbsentError(f"the kernel's BTF has no {target} for such a program")
    return check(number)


def _event_type(source: str) -> int:
    if source in ("software", "tracepoint"):
        return {"software": 1, "tracepoint": 2}[source]  # PERF_TYPE_…, the same on every kernel
    try:
        with open(f"{EVENT_SOURCES}/{source}/type", encoding="ascii") as file:
            return int(file.read())
    except FileNotFoundError:
        if os.path.isdir(EVENT_SOURCES):
            raise AbsentError(f"the kernel has no perf events of the type {source}") from None
        raise UntriedError(f"{EVENT_SOURCES} is missing: mount -t sysfs sysfs /sys") from None


def _close(result: int) -> None:
    os.close(check(result))
