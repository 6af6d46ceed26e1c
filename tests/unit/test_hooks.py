"""Hooks as texts: what is written can be read, and what cannot be read says what could."""

from __future__ import annotations

import pytest

from sonde.bpf.hooks import (
    Cgroup,
    Fentry,
    Hook,
    Iterator,
    Kprobe,
    KprobeMulti,
    Lsm,
    PerfEvent,
    RawTracepoint,
    Section,
    Tc,
    TpBtf,
    Tracepoint,
    Uprobe,
    UprobeMulti,
    Usdt,
    Xdp,
    hook_examples,
    hook_from_text,
    hook_kinds,
)
from sonde.errors import AttachError

HOOKS: list[Hook] = [
    Tracepoint("syscalls/sys_enter_openat"),
    Tracepoint("sys_enter_openat", cookie=7),
    RawTracepoint("sys_enter"),
    RawTracepoint("sys_enter", cookie=9),
    TpBtf("task_rename"),
    TpBtf("task_rename", cookie=3),
    Kprobe("do_sys_openat2"),
    Kprobe("do_sys_openat2", 0x10, cookie=5),
    Kprobe("do_sys_openat2", retprobe=True),
    KprobeMulti("tcp_*"),
    KprobeMulti(("tcp_sendmsg", "tcp_recvmsg"), retprobe=True, cookie=1),
    Uprobe("/bin/bash", "readline"),
    Uprobe("/bin/bash", "readline", 4, pid=12, cookie=6),
    Uprobe("/bin/bash", offset=0x1234),
    Uprobe("/a:b/c,d", "main", retprobe=True),
    UprobeMulti("libc.so.6", "mem*"),
    UprobeMulti("libc.so.6", ("malloc", "free"), pid=3, retprobe=True, cookie=2),
    Usdt("/usr/bin/python3", "python", "gc__start"),
    Usdt("/a:b", "p", "n", pid=4, cookie=8),
    Fentry("do_unlinkat"),
    Fentry("do_unlinkat", exit=True, cookie=4),
    Fentry("security_file_open", modify=True),
    Lsm("file_open"),
    PerfEvent(),
    PerfEvent("cycles", period=1_000_003, pid=5),
    PerfEvent("cpu-clock", frequency=49, cpu=0, cookie=2),
    PerfEvent("r01c2"),
    Xdp("eth0"),
    Xdp(3, "generic"),
    Tc("eth0"),
    Tc("eth0", "egress", first=True, mechanism="clsact"),
    Tc(2, "ingress"),
    Cgroup("/sys/fs/cgroup/system.slice"),
    Cgroup("/sys/fs/cgroup", "cgroup_inet_egress"),
    Iterator(),
    Iterator(pid=7),
    Iterator(tid=8),
    Iterator(cgroup="/sys/fs/cgroup", order="ancestors"),
]


@pytest.mark.parametrize("hook", HOOKS, ids=str)
def test_a_hook_reads_what_it_writes(hook: Hook) -> None:
    assert hook_from_text(str(hook)) == hook


def test_every_kind_of_hook_is_written_and_read_here() -> None:
    assert {type(hook) for hook in HOOKS} | {Section} == set(hook_kinds().values())


@pytest.mark.parametrize("kind", sorted(hook_kinds()))
def test_every_example_is_a_hook(kind: str) -> None:
    """The examples are in the error that a person sees: they have to be right."""
    hook = hook_from_text(hook_examples()[kind])
    assert type(hook) is hook_kinds()[kind]


@pytest.mark.parametrize(
    ("text", "hook"),
    [
        ("tracepoint/syscalls/sys_enter_openat", Tracepoint("syscalls/sys_enter_openat")),
        ("tracepoint:syscalls:sys_enter_openat", Tracepoint("syscalls/sys_enter_openat")),
        ("tp/syscalls/sys_enter_openat", Tracepoint("syscalls/sys_enter_openat")),
        ("kprobe/do_sys_openat2", Kprobe("do_sys_openat2")),
        ("uprobe//bin/bash:readline", Uprobe("/bin/bash", "readline")),
        ("uprobe.s//bin/bash:readline", Uprobe("/bin/bash", "readline")),
        ("fentry.s/do_unlinkat", Fentry("do_unlinkat")),
        ("usdt//bin/a:p:n", Usdt("/bin/a", "p", "n")),
        ("kprobe:f,cookie=0x10", Kprobe("f", cookie=16)),
        ("xdp:eth0, mode=native", Xdp("eth0", "native")),
        ("section", Section()),
    ],
)
def test_texts_as_people_write_them(text: str, hook: Hook) -> None:
    """SEC()'s slashes, sleepable kinds, perf's colons, spaces, hexadecimal numbers."""
    assert hook_from_text(text) == hook


def test_unknown_kind_shows_an_example_of_each() -> None:
    with pytest.raises(AttachError) as caught:
        hook_from_text("kprobes:do_sys_openat2")
    message = str(caught.value)
    assert "there is no kind of hook 'kprobes'" in message
    for example in hook_examples().values():
        assert example in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kprobe:", "kprobe needs a kernel function: for example kprobe:do_sys_openat2"),
        ("kprobe:f,pid=3", "there is no option pid=: valid: cookie="),
        ("kprobe:f+x", "the offset is a number, not 'x'"),
        ("kprobe:f,cookie=many", "cookie is a number, not 'many'"),
        ("uprobe:readline", "uprobe needs a file and a function"),
        ("usdt:a:b", "usdt needs a file, a provider and a name"),
        ("perf_event:cpu-cock", "there is no event cpu-cock: valid: cpu-clock, "),
        ("perf_event:cycles,frequency=9,period=9", "frequency and period exclude each other"),
        ("perf_event:cycles,frequency=0", "frequency is at least 1, not 0"),
        ("xdp:eth0,mode=fast", "there is no mode fast: valid: auto, native, generic, offload"),
        ("xdp:", "xdp needs a network interface"),
        ("tc:eth0:sideways", "there is no direction sideways: valid: ingress, egress"),
        ("tc:eth0,mechanism=netfilter", "there is no mechanism netfilter: valid: tcx, clsact"),
        ("tc:eth0,first=1", "first is yes or no, not 1"),
        ("iter:task", "it takes pid=, tid= or cgroup=, not"),
        ("iter:pid=1,tid=2", "map, pid, tid and cgroup exclude each other"),
        ("iter:cgroup=/x,order=random", "there is no order random: valid: self, descendants"),
        ("section:x", "it takes nothing more, not 'x'"),
    ],
)
def test_bad_text_says_what_would_be_good(text: str, said: str) -> None:
    with pytest.raises(AttachError) as caught:
        hook_from_text(text)
    assert said in str(caught.value)


def test_hooks_are_values() -> None:
    """They can be compared, kept in sets, and not changed."""
    assert len({*HOOKS, *HOOKS}) == len(HOOKS)
    with pytest.raises(AttributeError):
        HOOKS[0].name = "other"  # type: ignore[attr-defined]
