"""The capabilities this process has, and whether they suffice: found by trying, never by the user id."""

from __future__ import annotations

import errno
import functools
from collections.abc import Iterable

from sonde.errors import PermissionDeniedError, errno_text

TRACING = ("CAP_BPF", "CAP_PERFMON")
"""What loading and attaching a tracing program takes, since Linux 5.8 (kernel commit 2c78ee898d8f)."""

NETWORK = ("CAP_BPF", "CAP_NET_ADMIN")
"""What XDP, TC and cgroup programs take; with CAP_PERFMON too they may also read kernel memory."""

_NUMBERS = {
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_RESOURCE": 24,
    "CAP_SYSLOG": 34,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}

IN_SYS_ADMIN = frozenset({"CAP_BPF", "CAP_PERFMON"})
"""The kernel takes CAP_SYS_ADMIN for each of them: bpf_capable(), perfmon_capable() in linux/capability.h."""


def number_of(name: str) -> int:
    """Give a capability's number, the bit that it has in a set; raises KeyError for one that is not in use here."""
    return _NUMBERS[name]


def effective() -> frozenset[str]:
    """Give the capabilities that count for this thread now, of those that matter here."""
    bits = int(_status("CapEff"), 16)
    return frozenset(name for name, number in _NUMBERS.items() if bits >> number & 1)


def missing(needed: Iterable[str]) -> tuple[str, ...]:
    """Give those of the ``needed`` capabilities that this thread lacks, in their order."""
    here = effective()
    if "CAP_SYS_ADMIN" in here:
        here |= IN_SYS_ADMIN
    return tuple(name for name in needed if name not in here)


@functools.cache
def refusal() -> str | None:
    """Try to load a tracing program of two instructions; say why the kernel refuses it, or None if it does not.

    The answer is kept for the life of the process.
    """
    from sonde.bpf import trial

    try:
        with trial.program("tracepoint"):
            return None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES):
            return f"a program of two instructions does not load: {errno_text(error.errno or 0)}"
        return _why_refused()


def require(needed: Iterable[str] = TRACING, *, operation: str) -> None:
    """Raise PermissionDeniedError, with what is missing and how to get it, unless ``operation`` can be tried."""
    lacking = missing(needed)
    reason = refusal()
    if not lacking and reason is None:
        return
    if lacking:
        raise PermissionDeniedError(operation=operation, capability=", ".join(lacking))
    raise PermissionDeniedError(operation=operation, why=reason or "")


def _why_refused() -> str:
    lacking = missing(TRACING)
    if lacking:
        return f"the process lacks {', '.join(lacking)}"
    with open("/proc/self/uid_map", encoding="ascii") as file:
        if file.read().split() != ["0", "0", "4294967295"]:
            return "the capabilities are those of a user namespace; the kernel wants the host's"
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit != resource.RLIM_INFINITY and not _accounts_by_cgroup():
        return (
            f"before Linux 5.11 programs count against RLIMIT_MEMLOCK ({limit:,} bytes): ulimit -l unlimited"
        )
    if _status("Seccomp") != "0":
        return "a seccomp filter, such as a container's, forbids bpf(2)"
    return "the kernel refuses bpf(2) to a process with all capabilities: a security module or lockdown"


def _accounts_by_cgroup() -> bool:
    # Memory cgroups and this helper both came with 5.11; the limit only matters where both are missing.
    from sonde.bpf import trial

    return trial.kernel_btf_has("bpf_ktime_get_coarse_ns")


def _status(field: str) -> str:
    with open("/proc/thread-self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name == field:
                return value.strip()
    return "0"
