"""What sections and cookies say, and programs that do not fit."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from kernel.evidence import absent
from kernel.hook_cases import GETPPID, LISTED_GETPPID, Stage, compute, getpgid, getppid, rename
from kernel.hook_objects import (
    COOKIES,
    COUNT,
    HOOKS,
    SECTIONS,
    STAGE,
    Require,
    attach,
    load,
)
from sonde.bpf import Link
from sonde.bpf.hooks import (
    Fentry,
    Hook,
    Kprobe,
    KprobeMulti,
    PerfEvent,
    RawTracepoint,
    TpBtf,
    Tracepoint,
    Uprobe,
    UprobeMulti,
)
from sonde.errors import AttachError, NotSupportedError, SondeError

Work = Callable[[Stage, Link, int], None]
COOKIE_CASES: list[tuple[str, Hook, Work, tuple[str, ...]]] = [
    (
        "at_tracepoint",
        Tracepoint("syscalls/sys_enter_getppid", cookie=0x1122334455667788),
        getppid,
        ("cookie",),
    ),
    ("at_raw_tp", RawTracepoint("task_rename", cookie=3), rename, ("cookie_raw_tp",)),
    ("at_tp_btf", TpBtf("task_rename", cookie=5), rename, ("cookie_raw_tp",)),
    ("at_fentry", Fentry("security_task_getpgid", cookie=7), getpgid, ("fentry", "cookie_tracing")),
    ("at_kprobe", Kprobe(GETPPID, cookie=11), getppid, ("kprobe", "cookie")),
    ("at_kprobe_multi", KprobeMulti(LISTED_GETPPID, cookie=13), getppid, ("kprobe_multi",)),
    ("at_uprobe", Uprobe("libc.so.6", "getppid", cookie=17), getppid, ("uprobe", "cookie")),
    ("at_uprobe_multi", UprobeMulti("libc.so.6", ("getppid",), cookie=19), getppid, ("uprobe_multi",)),
    ("at_perf_event", PerfEvent(frequency=999, cookie=23), compute, ("cookie",)),
]


@pytest.mark.parametrize(
    ("program", "hook", "work", "features"), COOKIE_CASES, ids=[case[0] for case in COOKIE_CASES]
)
def test_program_reads_the_cookie_of_its_link(
    program: str, hook: Hook, work: Work, features: tuple[str, ...], require_feature: Require
) -> None:
    for feature in features:
        require_feature(feature)
    loaded, link = attach(COOKIES, program, hook)
    with loaded:
        work(STAGE, link, COUNT)
        assert loaded.variables["cookie"].value == hook.cookie  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("program", "hook", "feature"),
    [
        ("at_tracepoint", Tracepoint("syscalls/sys_enter_getppid", cookie=1), "cookie"),
        ("at_raw_tp", RawTracepoint("task_rename", cookie=1), "cookie_raw_tp"),
        ("at_tp_btf", TpBtf("task_rename", cookie=1), "cookie_raw_tp"),
        ("at_fentry", Fentry("security_task_getpgid", cookie=1), "cookie_tracing"),
    ],
)
def test_cookie_that_the_kernel_cannot_keep_is_refused(
    program: str, hook: Hook, feature: str, require_feature: Require
) -> None:
    """Never attached without it: the program would take one place for another."""
    if program == "at_fentry":
        require_feature("fentry")
    with load(HOOKS, program, hook) as loaded:
        if absent(feature):
            with pytest.raises(NotSupportedError, match="cookie"):
                loaded.programs[program].attach(hook)
        else:
            loaded.programs[program].attach(hook).close()


SECTION_CASES: list[tuple[str, str, Work, tuple[str, ...]]] = [
    ("as_tracepoint", "tracepoint:syscalls/sys_enter_getppid", getppid, ()),
    ("as_tp", "tracepoint:syscalls/sys_enter_getppid", getppid, ()),
    ("as_raw_tp", "raw_tp:task_rename", rename, ()),
    ("as_raw_tracepoint", "raw_tp:task_rename", rename, ()),
    ("as_tp_btf", "tp_btf:task_rename", rename, ("tp_btf",)),
    ("as_uprobe", "uprobe:libc.so.6:getppid", getppid, ("uprobe",)),
    ("as_uretprobe", "uretprobe:libc.so.6:getppid", getppid, ("uprobe",)),
    ("as_uprobe_multi", "uprobe.multi:libc.so.6:getppi*", getppid, ("uprobe_multi",)),
    ("as_kprobe", "kprobe:security_task_getpgid", getpgid, ("kprobe",)),
    ("as_kretprobe", "kretprobe:security_task_getpgid", getpgid, ("kprobe",)),
    ("as_ksyscall", "its section", getppid, ("kprobe",)),
    ("as_kprobe_multi", "kprobe.multi:security_task_getpgi*", getpgid, ("kprobe_multi",)),
    ("as_fentry", "fentry:security_task_getpgid", getpgid, ("fentry",)),
    ("as_fexit", "fexit:security_task_getpgid", getpgid, ("fentry",)),
    ("as_lsm", "lsm:task_getpgid", getpgid, ("lsm",)),
]


@pytest.mark.parametrize(
    ("program", "hook", "work", "features"), SECTION_CASES, ids=[case[0] for case in SECTION_CASES]
)
def test_program_attaches_as_its_section_says(
    program: str, hook: str, work: Work, features: tuple[str, ...], require_feature: Require
) -> None:
    for feature in features:
        require_feature(feature)
    with load(SECTIONS, program) as loaded:
        (link,) = loaded.attach_all()
        assert str(link.hook) == hook
        work(STAGE, link, COUNT)
        assert loaded.variables["runs"].value == COUNT
        link.close()
        work(STAGE, link, COUNT)
        assert loaded.variables["runs"].value == COUNT


@pytest.mark.parametrize(
    ("program", "what", "example"),
    [
        ("bare_xdp", "a network interface", 'Xdp("eth0")'),
        ("bare_tc", "a network interface and a direction", 'Tc("eth0", "ingress")'),
        ("bare_tcx", "a network interface and a direction", 'Tc("eth0", "ingress")'),
        ("bare_cgroup", "a directory of cgroup version 2", 'Cgroup("/sys/fs/cgroup")'),
        ("bare_perf_event", "an event and how often", 'PerfEvent("cpu-clock", frequency=99)'),
        ("bare_uprobe", "a file and a function", 'Uprobe("/bin/bash", "readline")'),
        ("bare_kprobe", "a kernel function", 'Kprobe("do_sys_openat2")'),
        ("bare_tracepoint", "a tracepoint", 'Tracepoint("syscalls/sys_enter_openat")'),
        ("bare_raw_tp", "a tracepoint", 'RawTracepoint("sys_enter")'),
    ],
)
def test_section_that_says_too_little_says_what_it_lacks(program: str, what: str, example: str) -> None:
    with load(SECTIONS, program) as loaded, pytest.raises(AttachError) as caught:
        loaded.programs[program].attach()
    assert f"it needs {what}" in caught.value.why
    assert example in caught.value.hint


def test_section_of_a_program_that_is_attached_nowhere_says_so() -> None:
    with load(SECTIONS, "bare_socket") as loaded, pytest.raises(AttachError, match="names no place"):
        loaded.programs["bare_socket"].attach()


def test_program_of_another_type_is_refused_in_words() -> None:
    with (
        load(HOOKS, "at_xdp") as loaded,
        pytest.raises(AttachError, match="it is a xdp program, the hook takes kprobe"),
    ):
        loaded.programs["at_xdp"].attach(Kprobe(GETPPID))


def test_program_is_not_attached_elsewhere_than_it_was_checked_for() -> None:
    with load(HOOKS, "at_tp_btf", TpBtf("task_rename")) as loaded:
        with pytest.raises(AttachError, match="it was loaded for task_rename"):
            loaded.programs["at_tp_btf"].attach(TpBtf("task_newtask"))
        assert loaded.links == []


def test_target_that_the_kernel_lacks_names_the_nearest() -> None:
    with pytest.raises(AttachError, match="the nearest are task_rename"):
        load(HOOKS, "at_tp_btf", TpBtf("task_renam"))


def test_hook_for_another_section_is_refused_before_load() -> None:
    with pytest.raises(SondeError, match=re.escape('compile it with SEC("fentry")')):
        load(HOOKS, "at_tp_btf", Fentry("security_task_getpgid"))
