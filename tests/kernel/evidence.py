"""What this kernel cannot do, and how we know: a test may be skipped for evidence only, never for its own failure.

Three kinds of evidence are accepted: the kernel's configuration, a name that the kernel's own BTF lacks, and EPERM
or EINVAL from a program of two instructions that has nothing else to be refused for.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import gzip
import mmap
import os
import platform
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

VMLINUX = Path("/sys/kernel/btf/vmlinux")
SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
BPF_PROG_LOAD = 5
BPF_PROG_TYPE_TRACING, BPF_PROG_TYPE_LSM = 26, 29
BPF_TRACE_FENTRY, BPF_LSM_MAC = 24, 27


class Evidence(Protocol):
    """Says in one sentence why a feature cannot be there, or None."""

    def __call__(self) -> str | None: ...


@functools.cache
def kernel_configuration() -> str:
    """The running kernel's configuration as text; empty where it publishes none."""
    proc = Path("/proc/config.gz")
    if proc.exists():
        return gzip.decompress(proc.read_bytes()).decode()
    given = os.environ.get("SONDE_KERNEL_CONFIG", f"/boot/config-{platform.release()}")
    return Path(given).read_text() if Path(given).exists() else ""


@dataclass(frozen=True)
class Configuration:
    """The kernel was built without an option."""

    option: str

    def __call__(self) -> str | None:
        text = kernel_configuration()
        if not text or any(line.startswith(f"{self.option}=") for line in text.splitlines()):
            return None
        return f"the kernel's configuration: {self.option} is not set"


@dataclass(frozen=True)
class KernelName:
    """The kernel's BTF does not contain a name: an enumerator or a function that the feature came with."""

    name: str

    def __call__(self) -> str | None:
        if not VMLINUX.exists() or has_kernel_name(self.name):
            return None
        return f"the kernel's BTF has no {self.name}"


@functools.cache
def has_kernel_name(name: str) -> bool:
    """Whether BTF's strings, which are separated by zero bytes, contain exactly this name."""
    with VMLINUX.open("rb") as file:
        try:
            text: bytes | mmap.mmap = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        except OSError:  # sysfs can be mapped only since Linux 6.16
            text = file.read()
        return text.find(b"\0" + name.encode() + b"\0") >= 0


@dataclass(frozen=True)
class KernelMember:
    """A struct in the kernel's BTF has no member of a name."""

    struct: str
    member: str

    def __call__(self) -> str | None:
        from sonde.bpf.btf import Btf, Struct

        found = Btf.kernel().require(self.struct, Struct)
        if any(member.name == self.member for member in found.members):
            return None
        return f"the kernel's BTF: struct {self.struct} has no member {self.member}"


@dataclass(frozen=True)
class MinimalProgram:
    """The kernel refuses ``return 0`` at a function of its own, although the process has every capability."""

    name: str
    type: int
    attach_type: int
    function: str

    def __call__(self) -> str | None:
        number = _load_return_zero(self.type, self.attach_type, self.function)
        if number in (0, errno.EACCES):
            return None
        return f"a minimal {self.name} program at {self.function}: {errno.errorcode.get(number, number)}"


@functools.cache
def _load_return_zero(program_type: int, attach_type: int, function: str) -> int:
    """BPF_PROG_LOAD of ``r0 = 0; exit`` by the bare system call; its errno, 0 where it loaded."""
    from sonde.bpf.btf import Btf, Func

    target = Btf.kernel().require(function, Func).id
    instructions = ctypes.create_string_buffer(struct.pack("<QQ", 0x00000000000000B7, 0x0000000000000095))
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = bytearray(144)
    struct.pack_into(
        "<IIQQ", attributes, 0, program_type, 2, ctypes.addressof(instructions), ctypes.addressof(licence)
    )
    struct.pack_into("<I", attributes, 68, attach_type)
    struct.pack_into("<I", attributes, 108, target)
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    # The size ends with attach_btf_id: an older kernel refuses bytes that it does not know.
    fd = libc.syscall(SYS_BPF, BPF_PROG_LOAD, buffer, 112)
    if fd < 0:
        return ctypes.get_errno()
    os.close(fd)
    return 0


FENTRY = MinimalProgram("fentry", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, "bpf_fentry_test1")
LSM = MinimalProgram("LSM", BPF_PROG_TYPE_LSM, BPF_LSM_MAC, "bpf_lsm_file_open")


def fmod_ret_place() -> str | None:
    """Before kernel commit 5b481acab4ce (2022) such a program needs a function that errors can be injected into."""
    if has_kernel_name("register_btf_fmodret_id_set"):
        return None
    return Configuration("CONFIG_FUNCTION_ERROR_INJECTION")()


FEATURES: dict[str, tuple[Evidence | Callable[[], str | None], ...]] = {
    "kprobe": (Configuration("CONFIG_KPROBES"),),
    "kprobe_multi": (KernelName("BPF_TRACE_KPROBE_MULTI"), Configuration("CONFIG_FPROBE")),
    "uprobe": (Configuration("CONFIG_UPROBE_EVENTS"),),
    "uprobe_multi": (KernelName("BPF_TRACE_UPROBE_MULTI"), Configuration("CONFIG_UPROBE_EVENTS")),
    "usdt": (Configuration("CONFIG_UPROBE_EVENTS"),),
    "fentry": (Configuration("CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS"), FENTRY),
    "fmod_ret": (
        Configuration("CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS"),
        fmod_ret_place,
        FENTRY,
    ),
    "lsm": (Configuration("CONFIG_BPF_LSM"), LSM),
    "tp_btf": (Configuration("CONFIG_DEBUG_INFO_BTF"),),
    "tcx": (KernelName("BPF_TCX_INGRESS"), Configuration("CONFIG_NET_XGRESS")),
    "clsact": (Configuration("CONFIG_NET_SCH_INGRESS"), Configuration("CONFIG_NET_CLS_BPF")),
    "xdp": (Configuration("CONFIG_VETH"),),
    "cgroup": (Configuration("CONFIG_CGROUP_BPF"),),
    "perf_link": (KernelName("BPF_LINK_TYPE_PERF_EVENT"),),
    "cookie": (KernelName("bpf_get_attach_cookie_trace"), KernelName("BPF_LINK_TYPE_PERF_EVENT")),
    "cookie_raw_tp": (KernelMember("bpf_raw_tp_link", "cookie"),),
    "cookie_tracing": (KernelName("bpf_get_attach_cookie_tracing"),),
    "task_iterator_parameters": (KernelName("bpf_iter_attach_task"),),
    "cgroup_iterator": (KernelName("bpf_iter_cgroup"),),
    "task_iterator": (KernelName("bpf_iter_task"), KernelName("bpf_iter__task")),
    "task_storage": (KernelName("BPF_MAP_TYPE_TASK_STORAGE"),),
    "inode_storage": (KernelName("BPF_MAP_TYPE_INODE_STORAGE"), Configuration("CONFIG_BPF_LSM")),
    "cgrp_storage": (KernelName("BPF_MAP_TYPE_CGRP_STORAGE"),),
    "bloom_filter": (KernelName("BPF_MAP_TYPE_BLOOM_FILTER"),),
    "user_ring_buffer": (KernelName("BPF_MAP_TYPE_USER_RINGBUF"),),
    "arena": (KernelName("BPF_MAP_TYPE_ARENA"),),
    "syscall_program": (KernelName("BPF_PROG_TYPE_SYSCALL"),),
    "loop": (KernelName("bpf_loop"),),
    "maps_on_demand": (KernelName("bpf_mem_alloc_init"),),
    "ksym_variable": (KernelName("runqueues"), Configuration("CONFIG_KALLSYMS_ALL")),
}
"""Feature → what would prove that it is missing; the names are those of tools/vm/expected.toml."""


def absent(feature: str) -> str | None:
    """The evidence that this kernel lacks a feature; None where there is none, and then the test has to pass."""
    for evidence in FEATURES[feature]:
        if reason := evidence():
            return reason
    return None
