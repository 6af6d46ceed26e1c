"""What this kernel can do, found by trying: yes, no, or unknown (for lack of permission), each with its reason.

A kernel's version says nothing: distributions port features back and configure them out. Each feature carries the
kernel and the commit that it came with only to tell people, and what would provide it.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from sonde._libbpf import ffi, lib
from sonde.bpf import capabilities, trial
from sonde.bpf.capabilities import NETWORK, TRACING
from sonde.bpf.trial import AbsentError, UntriedError
from sonde.errors import NotSupportedError, PermissionDeniedError, errno_text
from sonde.nearest import nearest

# A function of the kernel that exists to be attached to and that nothing else calls (net/bpf/test_run.c).
TEST_FUNCTION = "bpf_fentry_test1"
TEST_FUNCTION_RETURNS_ERROR = "bpf_modify_return_test"
QUIET_TRACEPOINT = "sched_process_exec"


@dataclass(frozen=True)
class Feature:
    """A feature: its name, a sentence, when it came, what provides it, what it takes to try it, and the trial.

    The trial returns nothing where the feature works, else raises OSError, AbsentError or UntriedError.
    """

    name: str
    title: str
    since: str
    commit: str
    provides: str
    capabilities: tuple[str, ...]
    trial: Callable[[], None]


@dataclass(frozen=True)
class Support:
    """The answer for a feature: ``value`` is True, False or None (unknown), ``reason`` says why; true only if it works.

    ``lacking`` are the capabilities for want of which it is unknown.
    """

    feature: Feature
    value: bool | None
    reason: str
    lacking: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The feature's name."""
        return self.feature.name

    @property
    def provides(self) -> str:
        """What would provide the feature: a kernel version, options of its configuration, settings."""
        return f"Linux {self.feature.since} or later" + (
            f" with {self.feature.provides}" if self.feature.provides else ""
        )

    def __bool__(self) -> bool:
        return self.value is True


def have(name: str) -> Support:
    """Tell whether this kernel has a feature; tried once per process. ``kprobe.multi`` and ``kprobe_multi`` are one."""
    return _have(_named(name))


def require(name: str, *, operation: str = "use", subject: str = "") -> None:
    """Raise NotSupportedError or PermissionDeniedError, which say what would provide a feature, unless it is there."""
    support = have(name)
    if support:
        return
    if support.lacking:
        raise PermissionDeniedError(
            operation=operation, subject=subject or support.name, capability=", ".join(support.lacking)
        )
    raise NotSupportedError(
        support.name,
        provides=support.provides,
        operation=operation,
        subject=subject,
        why=support.reason,
    )


def all() -> Iterator[Support]:
    """Try every feature, one after the other, in the order of ``FEATURES``."""
    return (_have(feature) for feature in FEATURES)


def _named(name: str) -> Feature:
    plain = name.replace(".", "_").replace("-", "_").lower()
    if plain not in _BY_NAME:
        near = nearest(plain, _BY_NAME, 1)
        raise ValueError(f"no feature is called {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return _BY_NAME[plain]


@functools.cache
def _have(feature: Feature) -> Support:
    try:
        feature.trial()
    except AbsentError as absent:
        return _refused(feature, str(absent), None)
    except UntriedError as unknown:
        return Support(feature, None, str(unknown))
    except OSError as error:
        return _refused(feature, errno_text(error.errno or 0), error.errno)
    return Support(feature, True, "tried, works")


def _refused(feature: Feature, reason: str, number: int | None) -> Support:
    """Tell a kernel that cannot from a process that may not."""
    lacking = capabilities.missing(feature.capabilities)
    if lacking:
        # Without them a kernel with the feature and one without may answer alike.
        return Support(feature, None, f"{reason}; the process lacks {', '.join(lacking)}", lacking)
    if feature.capabilities and (forbidden := capabilities.refusal()):
        return Support(feature, None, forbidden)
    if number in (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EINTR, errno.EAGAIN):
        return Support(feature, None, f"could not be tried: {reason}")
    if number in (errno.EPERM, errno.EACCES):
        if admin := capabilities.missing(_ADMIN):
            # Debian's kernels want it for perf events where kernel.perf_event_paranoid is 3, which it is.
            return Support(feature, None, f"{reason}; it may take {', '.join(admin)} here", admin)
        return Support(feature, False, f"{reason}, although the process has every capability for it")
    return Support(feature, False, reason)


def _btf() -> None:
    if not os.access(trial.KERNEL_BTF, os.R_OK):
        raise AbsentError(f"{trial.KERNEL_BTF} does not exist")


def _tracepoint() -> None:
    from sonde.bpf.link.tracefs import tracefs

    with open(f"{tracefs()}/events/sched/{QUIET_TRACEPOINT}/id", encoding="ascii") as file:
        number = int(file.read())
    trial.load("tracepoint")
    trial.perf_event("tracepoint", config=number, pid=0)


def _raw_tracepoint() -> None:
    with trial.program("raw_tp") as fd:
        trial.raw_tracepoint(fd, QUIET_TRACEPOINT)


def _by_target(section: str, target: str) -> None:
    with trial.program(section, target=target) as fd:
        trial.raw_tracepoint(fd, None)


def _kprobe() -> None:
    trial.load("kprobe")
    trial.perf_event("kprobe", text=TEST_FUNCTION)


def _kprobe_multi() -> None:
    name = ffi.new("char[]", TEST_FUNCTION.encode())
    names = ffi.new("const char *[]", [name])
    rest = struct.pack("=IIQQQ", 0, 1, _address(names), 0, 0)  # flags, count, symbols, addresses, cookies
    with trial.program("kprobe.multi") as fd:
        trial.link(fd, 0, _attach_type("kprobe.multi"), rest=rest)


def _uprobe() -> None:
    trial.load("uprobe")
    trial.perf_event("uprobe", text="/proc/self/exe", offset=trial.own_entry_point(), pid=0)


def _uprobe_multi() -> None:
    path, offset = ffi.new("char[]", b"/"), ffi.new("unsigned long *")
    # path, offsets, reference counters, cookies, count, flags, pid
    rest = struct.pack("=QQQQIII", _address(path), _address(offset), 0, 0, 1, 0, 0)
    with trial.program("uprobe.multi") as fd:
        # A directory cannot have a uprobe: EBADF shows that the kernel looked.
        attach_type = _attach_type("uprobe.multi")
        trial.expect(errno.EBADF, lambda: trial.link(fd, -1, attach_type, rest=rest))


def _perf_event() -> None:
    trial.load("perf_event")
    trial.perf_event("software", pid=0)


def _perf_link() -> None:
    with trial.program("tracepoint") as fd:
        trial.expect(errno.EBADF, lambda: trial.link(fd, -1, lib.BPF_PERF_EVENT))


def _network(section: str) -> None:
    with trial.program(section) as fd:
        attach_type = _attach_type(section)
        trial.in_own_network(lambda: trial.link(fd, trial.LOOPBACK, attach_type))


def _xdp() -> None:
    generic = 2  # XDP_FLAGS_SKB_MODE: the loopback has no driver for it
    with trial.program("xdp") as fd:
        attach_type = _attach_type("xdp")
        trial.in_own_network(lambda: trial.link(fd, trial.LOOPBACK, attach_type, flags=generic))


def _clsact() -> None:
    hook = ffi.new("struct bpf_tc_hook *")
    hook.sz, hook.ifindex, hook.attach_point = (
        ffi.sizeof("struct bpf_tc_hook"),
        trial.LOOPBACK,
        lib.BPF_TC_INGRESS,
    )

    def create() -> None:
        from sonde._libbpf import log

        with log.capture():  # the namespace takes the qdisc with it
            trial.check(lib.bpf_tc_hook_create(hook))

    trial.load("tc")
    trial.in_own_network(create)


def _cgroup() -> None:
    section = "cgroup_skb/ingress"
    with trial.program(section) as fd:
        trial.expect(errno.EBADF, lambda: trial.link(fd, -1, _attach_type(section)))


def _iterator(target: str) -> None:
    with trial.program("iter/x", target=target) as fd:
        trial.link(fd, 0, _attach_type("iter/x"))


def _task_iterator_parameters() -> None:
    """An iterator over a thread and a process at once is nonsense to a kernel that knows both, too long to one that does not."""
    info = ffi.new("uint32_t[]", [os.getpid(), os.getpid(), 0, 0])  # thread, process, its descriptor
    rest = struct.pack("=QI", _address(info), ffi.sizeof(info))
    with trial.program("iter/x", target="task") as fd:
        trial.expect(errno.EINVAL, lambda: trial.link(fd, 0, _attach_type("iter/x"), rest=rest))


def _lsm() -> None:
    modules = _security_modules()
    if "bpf" not in modules:
        raise AbsentError(f"bpf is not among the active security modules ({', '.join(modules) or 'none'})")
    _by_target("lsm/x", "syslog")


def _security_modules() -> list[str]:
    path = "/sys/kernel/security/lsm"
    if os.path.exists(path):
        with open(path, encoding="ascii") as file:
            return file.read().strip().split(",")
    root = trial.check(lib.sonde_mount_detached(b"securityfs"))
    try:
        fd = os.open("lsm", os.O_RDONLY | os.O_CLOEXEC, dir_fd=root)
        with open(fd, encoding="ascii") as file:
            return file.read().strip().split(",")
    except FileNotFoundError:
        return []
    finally:
        os.close(root)


def _ring_buffer(type_number: int) -> None:
    os.close(
        trial.check(lib.bpf_map_create(type_number, ffi.NULL, 0, 0, os.sysconf("SC_PAGE_SIZE"), ffi.NULL))
    )


def _statistics() -> None:
    os.close(trial.check(lib.bpf_enable_stats(0)))  # BPF_STATS_RUN_TIME


def _kernel_symbols() -> None:
    with open("/proc/kallsyms", encoding="ascii", errors="replace") as file:
        # Where addresses are hidden all are 0; before Linux 6.15 those of the first per-CPU variables really are, and
        # come first (9d7de2aa8b41).
        if not any(int(line.split(" ", 1)[0], 16) for line in islice(file, 100)):
            raise AbsentError("the addresses in /proc/kallsyms are hidden")


def _attach_type(section: str) -> int:
    types = ffi.new("enum bpf_prog_type *"), ffi.new("enum bpf_attach_type *")
    trial.check(lib.libbpf_prog_type_by_name(section.encode(), *types))
    return int(types[1][0])


def _address(pointer: ffi.CData) -> int:
    return int(ffi.cast("uintptr_t", pointer))


_ADMIN = ("CAP_SYS_ADMIN",)
_BPF = ("CAP_BPF",)

FEATURES = (
    Feature("btf", "the kernel's own types", "5.4", "341dfcf8d78e", "CONFIG_DEBUG_INFO_BTF", (), _btf),
    Feature("tracepoint", "programs on tracepoints", "4.7", "98b5c2c65c29", "CONFIG_BPF_EVENTS and tracefs",
            (*TRACING, *_ADMIN), _tracepoint),
    Feature("raw_tp", "programs on raw tracepoints", "4.17", "c4f6699dfcb8", "CONFIG_BPF_EVENTS", TRACING,
            _raw_tracepoint),
    Feature("tp_btf", "programs on tracepoints with typed arguments", "5.5", "f1b9509c2fb0",
            "CONFIG_DEBUG_INFO_BTF and CONFIG_BPF_EVENTS", TRACING, lambda: _by_target("tp_btf/x", QUIET_TRACEPOINT)),
    Feature("fentry", "programs on functions of the kernel by trampoline", "5.5", "fec56f5890d9",
            "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS and CONFIG_DEBUG_INFO_BTF", TRACING,
            lambda: _by_target("fentry/x", TEST_FUNCTION)),
    Feature("fmod_ret", "programs that change what a function returns", "5.7", "ae24082331d9",
            "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS, CONFIG_DEBUG_INFO_BTF, at first CONFIG_FUNCTION_ERROR_INJECTION",
            TRACING,
            lambda: _by_target("fmod_ret/x", TEST_FUNCTION_RETURNS_ERROR)),
    Feature("kprobe", "programs on instructions of the kernel", "4.17", "e12f03d7031a", "CONFIG_KPROBE_EVENTS",
            TRACING, _kprobe),
    Feature("kprobe_multi", "one program on many functions at once", "5.18", "0dcac2725406", "CONFIG_FPROBE",
            TRACING, _kprobe_multi),
    Feature("uprobe", "programs on instructions of processes", "4.17", "33ea4b24277b", "CONFIG_UPROBE_EVENTS",
            TRACING, _uprobe),
    Feature("usdt", "programs on the static probes of processes", "4.17", "33ea4b24277b", "CONFIG_UPROBE_EVENTS",
            TRACING, _uprobe),
    Feature("uprobe_multi", "one program on many functions of a file", "6.6", "89ae89f53d20",
            "CONFIG_UPROBE_EVENTS", TRACING, _uprobe_multi),
    Feature("perf_event", "programs on perf events", "4.9", "0515e5999a46", "CONFIG_BPF_EVENTS", TRACING,
            _perf_event),
    Feature("perf_link", "links to perf events, kprobes and tracepoints", "5.15", "b89fbfbb854c",
            "CONFIG_BPF_EVENTS", TRACING, _perf_link),
    Feature("cookie", "a number per attachment that its program can read", "5.15", "82e6b1eee6a8",
            "CONFIG_BPF_EVENTS", TRACING, lambda: trial.helper("tracepoint", lib.BPF_FUNC_get_attach_cookie)),
    Feature("xdp", "programs on received packets, before all else", "5.9", "aa8d3a716b59", "CONFIG_NET",
            (*NETWORK, *_ADMIN), _xdp),
    Feature("tcx", "programs on packets in and out, as links", "6.6", "e420bed02507", "CONFIG_NET_XGRESS",
            (*NETWORK, *_ADMIN), lambda: _network("tcx/ingress")),
    Feature("clsact", "programs on packets in and out, as filters of tc", "4.5", "1f211a1b929c",
            "CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF", (*NETWORK, *_ADMIN), _clsact),
    Feature("cgroup", "programs on cgroups, as links", "5.7", "af6eea57437a", "CONFIG_CGROUP_BPF", NETWORK, _cgroup),
    Feature("task_iterator", "programs run over all tasks", "5.8", "15d83c4d7cef", "CONFIG_DEBUG_INFO_BTF", TRACING,
            lambda: _iterator("task")),
    Feature("task_iterator_parameters", "programs run over one process", "6.1", "f0d74c4da1f0",
            "CONFIG_DEBUG_INFO_BTF", TRACING, _task_iterator_parameters),
    Feature("cgroup_iterator", "programs run over cgroups", "6.1", "d4ccaf58a847",
            "CONFIG_CGROUPS and CONFIG_DEBUG_INFO_BTF", TRACING, lambda: trial.load("iter/x", target="cgroup")),
    Feature("lsm", "programs on security hooks", "5.7", "fc611f47f218",
            "CONFIG_BPF_LSM, and bpf in the boot parameter lsm=", (*TRACING, *_ADMIN), _lsm),
    Feature("ring_buffer", "a ring buffer shared by all CPUs", "5.8", "457f44363a88", "CONFIG_BPF_SYSCALL", _BPF,
            lambda: _ring_buffer(lib.BPF_MAP_TYPE_RINGBUF)),
    Feature("user_ring_buffer", "a ring buffer from user space to programs", "6.1", "583c1f420173",
            "CONFIG_BPF_SYSCALL", _BPF, lambda: _ring_buffer(lib.BPF_MAP_TYPE_USER_RINGBUF)),
    Feature("batch", "reading and writing many map entries at once", "5.6", "057996380a42", "CONFIG_BPF_SYSCALL",
            _BPF, lambda: trial.batch(lib.BPF_MAP_TYPE_HASH)),
    Feature("batch_percpu_array", "the same for per-CPU arrays", "5.13", "f008d732ab18", "CONFIG_BPF_SYSCALL",
            _BPF, lambda: trial.batch(lib.BPF_MAP_TYPE_PERCPU_ARRAY)),
    Feature("task_storage", "maps with a value per task", "5.11", "4cf1bc1f1045", "CONFIG_DEBUG_INFO_BTF", _BPF,
            lambda: trial.map_type(lib.BPF_MAP_TYPE_TASK_STORAGE)),
    Feature("task_storage_in_tracing", "those maps in tracing programs", "5.12", "a10787e6d58c",
            "CONFIG_DEBUG_INFO_BTF", TRACING,
            lambda: trial.helper("tp_btf/x", lib.BPF_FUNC_task_storage_get, target=QUIET_TRACEPOINT)),
    Feature("current_task_btf", "the current task as a typed pointer", "5.11", "3ca1032ab7ab",
            "CONFIG_DEBUG_INFO_BTF", TRACING, lambda: trial.helper("raw_tp", lib.BPF_FUNC_get_current_task_btf)),
    # Before, perf events' programs were refused such a map, and for other programs the kernel warned in its log.
    Feature("maps_on_demand", "hashes that grow, in tracing programs", "6.1", "96da3f7d489d", "CONFIG_BPF_SYSCALL",
            TRACING, lambda: trial.map_on_demand("perf_event")),
    Feature("loop", "bpf_loop(), a loop that is verified once", "5.17", "e6f2dd0f8067", "CONFIG_BPF_SYSCALL", TRACING,
            lambda: trial.helper("raw_tp", lib.BPF_FUNC_loop)),
    Feature("statistics", "run count and time of programs", "5.8", "d46edd671a14", "CONFIG_BPF_SYSCALL", _ADMIN,
            _statistics),
    Feature("kernel_symbols", "names for the kernel's addresses", "2.6", "",
            "CONFIG_KALLSYMS, kernel.kptr_restrict below 2 and CAP_SYSLOG", ("CAP_SYSLOG",), _kernel_symbols),
)  # fmt: skip

_BY_NAME = {feature.name: feature for feature in FEATURES}
