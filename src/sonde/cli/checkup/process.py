"""What this process may do."""

from __future__ import annotations

import resource
from collections.abc import Iterator

from sonde.bpf import capabilities, trial
from sonde.cli.checkup.check import Check, read

TITLE, ORDER = "This process", 1

_EXTRA = {
    "CAP_NET_ADMIN": "XDP, TC and cgroup programs",
    "CAP_SYS_ADMIN": "an unmounted tracefs, run statistics, programs by number",
    "CAP_SYSLOG": "the addresses of the kernel's functions",
    "CAP_SYS_PTRACE": "the files and memory maps of other users' processes",
}


def checks() -> Iterator[Check]:
    """Look at capabilities, and at what can stand in their way."""
    yield _loading()
    here = capabilities.effective()
    for name, purpose in _EXTRA.items():
        found = f"{purpose}" if name in here else f"missing: {purpose}"
        yield Check(name, name in here, found, "" if name in here else _grant(name))
    yield _memlock()
    yield _perf_paranoid()
    yield _lockdown()


def _loading() -> Check:
    lacking = capabilities.missing(capabilities.TRACING)
    name = "CAP_BPF, CAP_PERFMON"
    if lacking:
        return Check(
            name, False, f"missing: {', '.join(lacking)}", _grant(*capabilities.TRACING), is_needed=True
        )
    refusal = capabilities.refusal()
    if refusal:
        fix = "see the kernel's log (dmesg); in a container: --cap-add BPF --cap-add PERFMON --security-opt seccomp=unconfined"
        return Check(name, False, refusal, fix, is_needed=True)
    return Check(name, True, "a program of two instructions was loaded", is_needed=True)


def _grant(*names: str) -> str:
    return f"sudo sonde …, or in a systemd unit AmbientCapabilities={' '.join(names)}"


def _memlock() -> Check:
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    name = "memlock"
    if limit == resource.RLIM_INFINITY:
        return Check(name, True, "unlimited")
    if trial.kernel_btf_has("bpf_ktime_get_coarse_ns"):
        return Check(
            name, True, f"{limit:,} bytes, which do not matter here: maps count in the cgroup's memory"
        )
    if "CAP_SYS_RESOURCE" in capabilities.effective():
        return Check(name, True, f"{limit:,} bytes, raised as needed, with CAP_SYS_RESOURCE")
    fix = "ulimit -l unlimited, or LimitMEMLOCK=infinity in a systemd unit"
    return Check(name, False, f"{limit:,} bytes for all maps together", fix, is_needed=True)


def _perf_paranoid() -> Check:
    name, text = "perf_event_paranoid", read("/proc/sys/kernel/perf_event_paranoid")
    if text is None:
        return Check(
            name, False, "there are no perf events", "a kernel with CONFIG_PERF_EVENTS=y", is_needed=True
        )
    if int(text) < 0 or not capabilities.missing(("CAP_PERFMON",)):
        return Check(name, True, text if int(text) < 0 else f"{text}, which does not matter with CAP_PERFMON")
    return Check(
        name, False, f"{text}: without CAP_PERFMON no tracing", "sysctl kernel.perf_event_paranoid=-1"
    )


def _lockdown() -> Check:
    name, text = "lockdown", read("/sys/kernel/security/lockdown")
    if text is None:
        if capabilities.refusal() is None:
            return Check(name, True, "programs load; its file in securityfs is not there")
        fix = "mount -t securityfs securityfs /sys/kernel/security, and look again"
        return Check(name, None, "its file in securityfs is not there", fix)
    mode = text.partition("[")[2].partition("]")[0] or text
    if mode == "confidentiality":
        fix = "boot with lockdown=integrity, or switch off Secure Boot"
        return Check(
            name, False, "confidentiality: programs may not read the kernel's memory", fix, is_needed=True
        )
    return Check(name, True, mode)
