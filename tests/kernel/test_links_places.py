"""Each hook's own: cookies, parameters, sections, and what it says when its place is not there."""

from __future__ import annotations

import mmap
import os
import re
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kernel import places
from kernel.compiled import object_of, program_of
from kernel.evidence import absent
from kernel.hook_cases import GETPPID, Stage, compute, getpgid, getppid, libc_path, rename
from sonde.bpf import Link, Object, ObjectSpec
from sonde.bpf.hooks import (
    Cgroup,
    Fentry,
    Hook,
    IteratorLink,
    Kprobe,
    KprobeMulti,
    PerfEvent,
    RawTracepoint,
    TpBtf,
    Tracepoint,
    Uprobe,
    UprobeMulti,
    Usdt,
    Xdp,
    XdpLink,
)
from sonde.bpf.hooks import Iterator as IteratorHook
from sonde.bpf.link.elf import function_offsets
from sonde.errors import AttachError, NotSupportedError, SondeError

HOOKS, COOKIES, SECTIONS, ITERATORS = (
    f"links/{name}.bpf.c" for name in ("hooks", "cookies", "sections", "iterators")
)
Require = Callable[[str], None]
COUNT = 17
MADV_NOHUGEPAGE = 15
STAGE = Stage()


def load(source: str, program: str, hook: Hook | None = None) -> Object:
    """Load one program of a source, for a hook; this process is the one that counts."""
    with ObjectSpec.open(object_of(source)) as spec:
        spec.programs[program].autoload = True
        if hook is not None:
            hook.configure(spec.programs[program])
        spec.knobs["target"].value = os.getpid()
        return spec.load()


def attach(source: str, program: str, hook: Hook) -> tuple[Object, Link]:
    loaded = load(source, program, hook)
    return loaded, loaded.programs[program].attach(hook)


# ---- cookies -------------------------------------------------------------------------------------------------

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
    ("at_kprobe_multi", KprobeMulti(f"{GETPPID[:-2]}*", cookie=13), getppid, ("kprobe_multi",)),
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


def test_cookie_that_the_kernel_cannot_keep_is_refused() -> None:
    """Never attached without it: the program would take one place for another."""
    hook = Tracepoint("syscalls/sys_enter_getppid", cookie=1)
    loaded = load(HOOKS, "at_tracepoint")
    with loaded:
        if absent("cookie"):
            with pytest.raises(NotSupportedError, match="cookie"):
                loaded.programs["at_tracepoint"].attach(hook)
        else:
            loaded.programs["at_tracepoint"].attach(hook).close()


# ---- sections ------------------------------------------------------------------------------------------------

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


# ---- programs that do not fit --------------------------------------------------------------------------------


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


# ---- tracepoints, kernel functions ---------------------------------------------------------------------------


def test_tracepoint_is_found_without_its_group() -> None:
    loaded, link = attach(HOOKS, "at_tracepoint", Tracepoint("sys_enter_getppid"))
    with loaded:
        getppid(STAGE, link, COUNT)
        assert loaded.variables["runs"].value == COUNT


def test_raw_tracepoint_that_is_not_there_is_named() -> None:
    with load(HOOKS, "at_raw_tp") as loaded, pytest.raises(AttachError, match="no such tracepoint"):
        loaded.programs["at_raw_tp"].attach(RawTracepoint("task/task_rename"))


def test_kprobe_names_the_nearest_functions(require_feature: Require) -> None:
    require_feature("kprobe")
    with load(HOOKS, "at_kprobe") as loaded, pytest.raises(AttachError, match=GETPPID):
        loaded.programs["at_kprobe"].attach(Kprobe(f"{GETPPID}x"))


def test_kprobe_at_an_offset_counts(require_feature: Require) -> None:
    """Behind the function's first instruction; which one that is, only a small search tells."""
    require_feature("kprobe")
    with load(HOOKS, "at_kprobe") as loaded:
        for offset in range(1, 24):
            try:
                link = loaded.programs["at_kprobe"].attach(Kprobe(GETPPID, offset))
            except (SondeError, OSError):
                continue  # in the middle of an instruction
            getppid(STAGE, link, COUNT)
            assert loaded.variables["runs"].value == COUNT
            return
    pytest.fail("no offset was accepted")


def test_kprobe_multi_names_what_does_not_match(require_feature: Require) -> None:
    require_feature("kprobe_multi")
    with load(HOOKS, "at_kprobe_multi") as loaded:
        program = loaded.programs["at_kprobe_multi"]
        with pytest.raises(AttachError, match="no traceable function of this kernel matches"):
            program.attach(KprobeMulti("no_such_function_*"))
        with pytest.raises(AttachError, match="has no function no_such_function that"):
            program.attach(KprobeMulti((GETPPID, "no_such_function")))


def test_kprobe_multi_attaches_to_all_that_match(require_feature: Require) -> None:
    require_feature("kprobe_multi")
    hook = KprobeMulti((GETPPID, "security_task_getpgid"))
    loaded, link = attach(HOOKS, "at_kprobe_multi", hook)
    with loaded:
        getppid(STAGE, link, COUNT)
        getpgid(STAGE, link, COUNT)
        assert loaded.variables["runs"].value == 2 * COUNT


# ---- user space ----------------------------------------------------------------------------------------------


def test_uprobe_by_offset_is_the_uprobe_by_name(require_feature: Require) -> None:
    require_feature("uprobe")
    offset = function_offsets(libc_path(), ["getppid"])["getppid"]
    loaded, link = attach(HOOKS, "at_uprobe", Uprobe(libc_path(), offset=offset))
    with loaded:
        getppid(STAGE, link, COUNT)
        assert loaded.variables["runs"].value == COUNT


def test_uprobe_with_a_pid_leaves_other_processes_alone(require_feature: Require) -> None:
    require_feature("uprobe")
    marked = str(program_of("links/marked.c"))
    with ObjectSpec.open(object_of(HOOKS)) as spec:
        spec.programs["at_uprobe"].autoload = True
        loaded = spec.load()  # target 0: whoever comes counts
    with loaded, places.worker([marked]) as one, places.worker([marked]) as other:
        loaded.programs["at_uprobe"].attach(Uprobe(marked, "marked_function", pid=one.pid))
        for worker in (one, other):
            places.ask(worker, COUNT)
        assert loaded.variables["runs"].value == COUNT


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (Uprobe("/no/such/file", "main"), "there is no such file: give its whole path"),
        (Uprobe("nosuchlibrary.so.7", "main"), "there is no such file: give its whole path"),
        (Uprobe("libc.so.6", "getpppid"), "has no function getpppid: the nearest are getppid"),
        (Uprobe("libc.so.6", "getppid", pid=2**22 + 1), "there is no such process"),
    ],
)
def test_uprobe_says_what_is_not_there(hook: Uprobe, said: str, require_feature: Require) -> None:
    require_feature("uprobe")
    with load(HOOKS, "at_uprobe") as loaded, pytest.raises(AttachError) as caught:
        loaded.programs["at_uprobe"].attach(hook)
    assert said in str(caught.value)


def test_uprobe_multi_names_the_function_that_is_not_there(require_feature: Require) -> None:
    require_feature("uprobe_multi")
    with (
        load(HOOKS, "at_uprobe_multi") as loaded,
        pytest.raises(AttachError, match="has no function getpppid"),
    ):
        loaded.programs["at_uprobe_multi"].attach(UprobeMulti("libc.so.6", ("getppid", "getpppid")))


def test_usdt_gives_arguments_and_cookie(require_feature: Require) -> None:
    require_feature("usdt")
    marked = str(program_of("links/marked.c"))
    with places.worker([marked]) as worker, ObjectSpec.open(object_of("links/usdt.bpf.c")) as spec:
        spec.programs["at_usdt"].autoload = True
        spec.knobs["target"].value = worker.pid
        with spec.load() as loaded:
            loaded.programs["at_usdt"].attach(Usdt(marked, "sonde", "called", pid=worker.pid, cookie=29))
            places.ask(worker, COUNT)
            values = {name: loaded.variables[name].value for name in ("runs", "total", "cookie")}
    assert values == {"runs": COUNT, "total": COUNT * (COUNT + 1) // 2, "cookie": 29}


def test_usdt_semaphore_is_up_while_attached(require_feature: Require) -> None:
    """A program works for a probe with a semaphore only while somebody listens."""
    require_feature("usdt")
    marked = str(program_of("links/marked.c"))
    with places.worker([marked]) as worker, load("links/usdt.bpf.c", "at_usdt") as loaded:
        assert places.ask(worker, COUNT) == "0"
        with loaded.programs["at_usdt"].attach(Usdt(marked, "sonde", "wanted", pid=worker.pid)):
            assert places.ask(worker, COUNT) == str(COUNT)
        assert places.ask(worker, COUNT) == "0"


def test_usdt_that_is_not_there_lists_those_that_are(require_feature: Require) -> None:
    require_feature("usdt")
    marked = str(program_of("links/marked.c"))
    with load("links/usdt.bpf.c", "at_usdt") as loaded, pytest.raises(AttachError) as caught:
        loaded.programs["at_usdt"].attach(Usdt(marked, "sonde", "kalled", pid=os.getpid()))
    assert "has no USDT probe sonde:kalled: it has sonde:called, sonde:wanted" in str(caught.value)


# ---- perf events ---------------------------------------------------------------------------------------------


def test_perf_event_is_one_link_over_every_cpu() -> None:
    online = len(os.sched_getaffinity(0))
    loaded, link = attach(HOOKS, "at_perf_event", PerfEvent(frequency=99))
    with loaded:
        assert len(link.descriptors) == online


def test_perf_event_on_one_cpu_is_one_event() -> None:
    loaded, link = attach(HOOKS, "at_perf_event", PerfEvent(frequency=99, cpu=0))
    with loaded:
        assert len(link.descriptors) == 1


def test_perf_event_of_a_process_sees_threads_that_start_later() -> None:
    loaded, _ = attach(HOOKS, "at_perf_event", PerfEvent(frequency=999, pid=os.getpid()))
    with loaded:
        worker = threading.Thread(target=lambda: compute(STAGE, _, 1))
        worker.start()
        worker.join()
        in_thread = loaded.variables["runs"].value
        time.sleep(0.2)
        assert in_thread > 10
        assert loaded.variables["runs"].value - in_thread < in_thread


def test_perf_event_by_period_runs_once_for_so_many() -> None:
    """Page faults are counted by number: each hundredth of this process runs the program."""
    loaded, _ = attach(HOOKS, "at_perf_event", PerfEvent("page-faults", period=100, pid=os.getpid()))
    with loaded:
        pages, page = 2000, mmap.PAGESIZE
        with mmap.mmap(-1, pages * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.madvise(MADV_NOHUGEPAGE)
            for at in range(0, len(memory), page):
                memory[at] = 1
        assert loaded.variables["runs"].value >= pages // 100


def test_hardware_event_works_or_says_that_there_are_no_counters() -> None:
    loaded = load(HOOKS, "at_perf_event")
    with loaded:
        if Path("/sys/bus/event_source/devices/cpu").exists():
            link = loaded.programs["at_perf_event"].attach(PerfEvent("cycles", period=1_000_003))
            compute(STAGE, link, 1)
            assert loaded.variables["runs"].value > 0
        else:
            with pytest.raises(NotSupportedError, match=r"does not count it.*or the event cpu-clock"):
                loaded.programs["at_perf_event"].attach(PerfEvent("cycles", period=1_000_003))


def test_perf_event_says_what_is_wrong() -> None:
    with load(HOOKS, "at_perf_event") as loaded:
        program = loaded.programs["at_perf_event"]
        with pytest.raises(
            AttachError, match=r"the frequency is too high: the kernel allows [0-9]+ a second"
        ):
            program.attach(PerfEvent(frequency=10_000_000))
        with pytest.raises(AttachError, match="there is no such process"):
            program.attach(PerfEvent(pid=2**22 + 1))
        with pytest.raises(AttachError, match="CPU 4095 is not online: online are 0"):
            program.attach(PerfEvent(cpu=4095))
        assert loaded.links == []


# ---- XDP and cgroups -----------------------------------------------------------------------------------------


@pytest.fixture
def network(require_feature: Require) -> Iterator[places.Network]:
    require_feature("xdp")
    with places.network() as made:
        yield made


def test_xdp_says_which_mode_it_got(network: places.Network) -> None:
    """veth's driver has native XDP; the loopback's has not."""
    with load(HOOKS, "at_xdp") as loaded:
        program = loaded.programs["at_xdp"]
        for hook, mode in (
            (Xdp(network.interface), "native"),
            (Xdp(network.index, "generic"), "generic"),
            (Xdp("lo"), "generic"),
        ):
            with program.attach(hook) as link:
                assert isinstance(link, XdpLink)
                assert link.mode == mode
        for mode in ("native", "offload"):
            with pytest.raises(NotSupportedError, match="driver declines"):
                program.attach(Xdp("lo", mode))  # type: ignore[arg-type]


def test_xdp_says_that_another_program_is_there(network: places.Network) -> None:
    with load(HOOKS, "at_xdp") as one, load(HOOKS, "at_xdp") as other:
        one.programs["at_xdp"].attach(Xdp(network.interface))
        with pytest.raises(AttachError, match="another XDP program is attached there"):
            other.programs["at_xdp"].attach(Xdp(network.interface))


def test_xdp_that_is_updated_never_misses_a_packet(network: places.Network) -> None:
    with ObjectSpec.open(object_of(HOOKS)) as spec:
        for name in ("at_xdp", "at_xdp_other"):
            spec.programs[name].autoload = True
        with spec.load() as loaded:
            link = loaded.programs["at_xdp"].attach(Xdp(network.interface))
            network.ping(3)
            link.update(loaded.programs["at_xdp_other"])
            network.ping(2)
            assert loaded.variables["runs"].value == 3 + 2 * 1000
            assert link.program.name == "at_xdp_other"


def test_cgroup_says_where_version_2_is(tmp_path: Path, require_feature: Require) -> None:
    require_feature("cgroup")
    with load(HOOKS, "at_cgroup") as loaded:
        program = loaded.programs["at_cgroup"]
        with pytest.raises(AttachError, match="no directory of cgroup version 2: cgroup version 2 is "):
            program.attach(Cgroup(tmp_path))
        with pytest.raises(AttachError, match="no such file or directory"):
            program.attach(Cgroup(tmp_path / "nothing"))


def test_cgroup_refuses_an_attach_type_of_another_kind(cgroup: Path, require_feature: Require) -> None:
    require_feature("cgroup")
    with load(HOOKS, "at_cgroup") as loaded:
        program = loaded.programs["at_cgroup"]
        with pytest.raises(AttachError, match="cannot be attached to a cgroup as cgroup_inet4_connect"):
            program.attach(Cgroup(cgroup, "cgroup_inet4_connect"))
        with pytest.raises(AttachError, match=r"there is no attach type egress: valid: .*cgroup_inet_egress"):
            program.attach(Cgroup(cgroup, "egress"))


# ---- iterators -----------------------------------------------------------------------------------------------


def walk(program: str, hook: IteratorHook, loaded: Object) -> bytes:
    with loaded.programs[program].attach(hook) as link:
        assert isinstance(link, IteratorLink)
        return link.read()


def numbers(data: bytes, code: str = "I") -> list[int]:
    return [number for (number,) in struct.iter_unpack(f"={code}", data)]


def test_iterator_walks_over_every_task(require_feature: Require) -> None:
    require_feature("task_iterator")
    with load(ITERATORS, "tasks") as loaded:
        seen = numbers(walk("tasks", IteratorHook(), loaded))
    assert {2, os.getpid()} <= set(seen)  # 2 is kthreadd
    assert len(seen) == len(set(seen))


def test_iterator_over_one_process_gives_its_threads(require_feature: Require) -> None:
    require_feature("task_iterator_parameters")
    wake = threading.Event()
    threads = [threading.Thread(target=wake.wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    try:
        with load(ITERATORS, "tasks") as loaded:
            own = sorted(int(name) for name in os.listdir("/proc/self/task"))
            assert sorted(numbers(walk("tasks", IteratorHook(pid=os.getpid()), loaded))) == own
            assert numbers(walk("tasks", IteratorHook(tid=own[-1]), loaded)) == [own[-1]]
    finally:
        wake.set()


def test_iterator_parameters_that_the_kernel_lacks_are_refused() -> None:
    """Never ignored: an older kernel would walk over all tasks."""
    with load(ITERATORS, "tasks") as loaded:
        program, hook = loaded.programs["tasks"], IteratorHook(pid=os.getpid())
        if absent("task_iterator_parameters"):
            with pytest.raises(NotSupportedError, match="parameters of this iterator"):
                program.attach(hook)
        else:
            program.attach(hook).close()


def test_iterator_over_a_map_gives_its_entries(require_feature: Require) -> None:
    require_feature("task_iterator")
    wanted = {3: 30, 5: 50, 7: 70}
    with load(ITERATORS, "entries") as loaded:
        entries = loaded.maps["numbers"]
        for key, value in wanted.items():
            entries[key] = value  # type: ignore[index]
        data = walk("entries", IteratorHook(map=entries), loaded)
        assert dict(struct.iter_unpack("=IQ", data)) == wanted
        with pytest.raises(AttachError, match="walks over a map"):
            loaded.programs["entries"].attach(IteratorHook())


def test_iterator_over_a_cgroup_gives_it_and_those_below(cgroup: Path, require_feature: Require) -> None:
    require_feature("cgroup_iterator")
    child = cgroup / "child"
    child.mkdir()
    try:
        own, below = cgroup.stat().st_ino, child.stat().st_ino
        with load(ITERATORS, "cgroups") as loaded:
            assert numbers(walk("cgroups", IteratorHook(cgroup=cgroup), loaded), "Q") == [own, below]
            assert numbers(walk("cgroups", IteratorHook(cgroup=cgroup, order="self"), loaded), "Q") == [own]
    finally:
        child.rmdir()


def test_iterator_says_that_a_process_is_gone(require_feature: Require) -> None:
    require_feature("task_iterator_parameters")
    gone = subprocess.Popen(["true"])
    gone.wait()
    with load(ITERATORS, "tasks") as loaded, pytest.raises(AttachError, match="there is no such process"):
        loaded.programs["tasks"].attach(IteratorHook(pid=gone.pid))


def test_each_read_of_an_iterator_is_a_walk_of_its_own(require_feature: Require) -> None:
    require_feature("task_iterator")
    with load(ITERATORS, "tasks") as loaded:
        link = loaded.programs["tasks"].attach(IteratorHook())
        assert isinstance(link, IteratorLink)
        child = subprocess.Popen(["sleep", "60"])
        try:
            assert child.pid in numbers(link.read())
        finally:
            child.kill()
            child.wait()
        assert child.pid not in numbers(link.read())
        link.close()
        with pytest.raises(SondeError, match="it is closed"):
            link.read()
