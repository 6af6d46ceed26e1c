"""The kernel and its settings."""

from __future__ import annotations

import os
from collections.abc import Iterator

from sonde.bpf.trial import KERNEL_BTF
from sonde.cli.checkup.check import Check, read

TITLE, ORDER = "This kernel", 2


def checks() -> Iterator[Check]:
    """Look at its version, its types, its compiler for BPF, and who may load."""
    system = os.uname()
    yield Check("version", True, f"Linux {system.release} on {system.machine}")
    yield _btf()
    yield _jit()
    yield _unprivileged()
    yield _statistics()


def _btf() -> Check:
    try:
        size = os.stat(KERNEL_BTF).st_size
    except OSError:
        return Check(
            "BTF",
            False,
            f"{KERNEL_BTF} is missing",
            "a kernel with CONFIG_DEBUG_INFO_BTF=y: those of all large distributions since 2020-2021",
            is_needed=True,
        )
    return Check("BTF", True, f"{KERNEL_BTF}, {size / (1 << 20):.1f} MiB", is_needed=True)


def _jit() -> Check:
    text = read("/proc/sys/net/core/bpf_jit_enable")
    if text is None:
        # The file belongs to the initial network namespace.
        return Check(
            "JIT",
            None,
            "its setting cannot be read here",
            "look at it on the host: sysctl net.core.bpf_jit_enable",
        )
    if text == "0":
        return Check(
            "JIT",
            False,
            "off: programs are interpreted, many times slower",
            "sysctl net.core.bpf_jit_enable=1",
        )
    hardened = read("/proc/sys/net/core/bpf_jit_harden")
    if hardened == "2":
        return Check("JIT", True, "on, and hardened for everybody, which makes programs slower")
    return Check("JIT", True, "on" if text == "1" else "on, with debugging output in the kernel's log")


def _unprivileged() -> Check:
    name, text = "unprivileged_bpf_disabled", read("/proc/sys/kernel/unprivileged_bpf_disabled")
    if text is None:
        return Check(name, True, "the kernel has no such setting")
    if text == "0":
        return Check(
            name, False, "0: any user may load programs", "sysctl kernel.unprivileged_bpf_disabled=2"
        )
    return Check(name, True, f"{text}: only processes with CAP_BPF may load programs")


def _statistics() -> Check:
    text = read("/proc/sys/kernel/bpf_stats_enabled")
    if text == "1":
        return Check(
            "bpf_stats_enabled",
            False,
            "1: every run of every program is timed, which can double its cost",
            "sysctl kernel.bpf_stats_enabled=0",
        )
    return Check("bpf_stats_enabled", True, "off" if text is not None else "the kernel has no such setting")
