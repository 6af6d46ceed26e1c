"""Every kind of hook with work that it counts: what the conformance suite in test_links.py runs over.

A case attaches in this process, or in another one that is then killed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kernel import places
from kernel.compiled import object_of, program_of
from kernel.evidence import absent
from sonde.bpf import Link, Object, ObjectSpec
from sonde.bpf.hooks import (
    Cgroup,
    Fentry,
    Hook,
    IteratorLink,
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
)
from sonde.bpf.hooks import (
    Iterator as IteratorHook,
)

GETPPID = {"x86_64": "__x64_sys_getppid", "aarch64": "__arm64_sys_getppid"}[platform.machine()]
LISTED_GETPPID = "*_sys_getppid"
"""The same as ftrace lists it: by any one of its names, on some kernels ``__do_sys_getppid``."""
ASKED = "security_task_getpgid"
"""What getpgid(2) asks: a function that all of fentry, fmod_ret and (as task_getpgid) LSM can take."""
PR_SET_NAME = 15
NOBODY_LISTENS = 9

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Stage:
    """Where a case plays: what it has made for itself, and the process whose doings count."""

    target: int = field(default_factory=os.getpid)
    network: places.Network | None = None
    cgroup: Path | None = None
    worker: subprocess.Popen[str] | None = None

    def ask(self, line: object) -> str:
        """Have the worker do something, and wait until it has."""
        assert self.worker is not None
        return places.ask(self.worker, line)

    @property
    def wire(self) -> places.Network:
        assert self.network is not None
        return self.network


Place = Callable[[Stage], Hook]


@dataclass(frozen=True)
class Case:
    """A hook, the program that goes there, and work whose runs are known: ``work(stage, link, count)``."""

    name: str
    program: str
    hook: Place
    work: Callable[[Stage, Link, int], object]
    features: tuple[str, ...] = ()
    object: str = "links/hooks.bpf.c"
    needs: tuple[str, ...] = ()
    other: str = ""
    """The program that an update puts in its place; empty where the kernel has no update."""
    held_by: str = "link"
    """``link`` of the kernel's, ``perf`` events, or ``nothing`` with a descriptor."""
    exact: bool = True

    def __str__(self) -> str:
        return self.name

    @property
    def has_id(self) -> bool:
        """Whether the kernel numbers what holds the program."""
        return self.held_by == "link" or (self.held_by == "perf" and absent("perf_link") is None)

    @property
    def can_pin(self) -> bool:
        """Whether it can be pinned, where one link holds it."""
        return self.has_id

    def load(self, stage: Stage, **more: bool) -> Object:
        """Load the case's program, and the other one of an update, as the hook wants them."""
        hook = self.hook(stage)
        with ObjectSpec.open(object_of(self.object)) as spec:
            for name in filter(None, (self.program, self.other if more.get("other") else "")):
                spec.programs[name].autoload = True
                hook.configure(spec.programs[name])
            if "target" in spec.knobs:
                spec.knobs["target"].value = stage.target
            return spec.load()

    @contextmanager
    def stage(self) -> Iterator[Stage]:
        """Make what the case needs."""
        with ExitStack() as stack:
            stage = Stage()
            if "network" in self.needs:
                stage.network = stack.enter_context(places.network())
            if "cgroup" in self.needs:
                stage.cgroup = stack.enter_context(places.cgroup())
            for kind, command in (
                ("marked", [str(program_of("links/marked.c"))]),
                ("sender", ["python3", SENDER]),
            ):
                if kind in self.needs:
                    stage.worker = stack.enter_context(places.worker(command))
            if "marked" in self.needs and stage.worker is not None:
                stage.target = stage.worker.pid
            if stage.cgroup is not None and stage.worker is not None:
                (stage.cgroup / "cgroup.procs").write_text(str(stage.worker.pid))
            yield stage


SENDER = str(Path(__file__).with_name("send_datagrams.py"))


def getppid(stage: Stage, link: Link, count: int) -> None:
    """System calls of this process."""
    for _ in range(count):
        os.getppid()


def getpgid(stage: Stage, link: Link, count: int) -> None:
    """A system call that asks the security modules."""
    own = os.getpid()
    for _ in range(count):
        os.getpgid(own)


def rename(stage: Stage, link: Link, count: int) -> None:
    """Give this thread its own name again: the tracepoint task_rename."""
    name = ctypes.create_string_buffer(Path("/proc/thread-self/comm").read_bytes().strip())
    for _ in range(count):
        _libc.prctl(PR_SET_NAME, name, 0, 0, 0)


def compute(stage: Stage, link: Link, count: int) -> None:
    """Use the CPU for a tenth of a second and more."""
    begin = os.times().user
    while os.times().user - begin < 0.2:
        sum(range(1000))


def ping(stage: Stage, link: Link, count: int) -> None:
    """One packet out and one in, for each."""
    assert stage.wire.ping(count) == count


def datagrams(stage: Stage, link: Link, count: int) -> None:
    """Packets out, sent by the member of the cgroup."""
    assert stage.ask(f"{stage.wire.peer} {NOBODY_LISTENS} {count}") == str(count)


def marked(stage: Stage, link: Link, count: int) -> None:
    """Calls of the marked function in the worker."""
    assert stage.ask(count).isdigit()


def read(stage: Stage, link: Link, count: int) -> None:
    """Walk, while there is something to walk with."""
    assert isinstance(link, IteratorLink)
    for _ in range(0 if link.closed else count):
        link.read()


def libc_path() -> str:
    """The file of the C library that this process uses."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return next(line.split()[-1] for line in lines if line.rpartition("/")[2].startswith("libc.so"))


def on_perf(name: str, program: str, hook: Place, *features: str) -> Case:
    """A case that counts system calls of this process, held by a perf event."""
    return Case(name, program, hook, getppid, features, held_by="perf")


def on_samples(name: str, hook: Place) -> Case:
    """A case that counts samples, as many as there are."""
    return Case(name, "at_perf_event", hook, compute, held_by="perf", exact=False)


def on_usdt(name: str, probe: str) -> Case:
    """A case of a USDT probe in another process."""

    def hook(stage: Stage) -> Hook:
        return Usdt(str(program_of("links/marked.c")), "sonde", probe, pid=stage.target)

    source = "links/usdt.bpf.c"
    return Case(name, "at_usdt", hook, marked, ("usdt",), source, needs=("marked",), held_by="nothing")


def on_packets(
    name: str,
    program: str,
    hook: Callable[[str], Hook],
    feature: str,
    *,
    other: str = "",
    held_by: str = "link",
) -> Case:
    """A case that counts pings over this side's end of a pair; ``hook`` gets its name."""

    def place(stage: Stage) -> Hook:
        return hook(stage.wire.interface)

    return Case(name, program, place, ping, (feature,), needs=("network",), other=other, held_by=held_by)


def getppid_of_libc(*, retprobe: bool = False) -> Place:
    """The C library's function, in the process that counts."""
    return lambda stage: Uprobe(libc_path(), "getppid", pid=stage.target, retprobe=retprobe)


CASES = [
    on_perf("tracepoint", "at_tracepoint", lambda _: Tracepoint("syscalls/sys_enter_getppid")),
    on_perf("section", "at_section", lambda _: Section()),
    Case("raw_tp", "at_raw_tp", lambda _: RawTracepoint("task_rename"), rename),
    Case("tp_btf", "at_tp_btf", lambda _: TpBtf("task_rename"), rename, ("tp_btf",)),
    on_perf("kprobe", "at_kprobe", lambda _: Kprobe(GETPPID), "kprobe"),
    on_perf("kretprobe", "at_kprobe", lambda _: Kprobe(GETPPID, retprobe=True), "kprobe"),
    Case(
        "kprobe.multi",
        "at_kprobe_multi",
        lambda _: KprobeMulti(LISTED_GETPPID),
        getppid,
        ("kprobe_multi",),
    ),
    Case(
        "kretprobe.multi",
        "at_kprobe_multi",
        lambda _: KprobeMulti((GETPPID,), retprobe=True),
        getppid,
        ("kprobe_multi",),
    ),
    on_perf("uprobe", "at_uprobe", getppid_of_libc(), "uprobe"),
    on_perf("uprobe-everywhere", "at_uprobe", lambda _: Uprobe(libc_path(), "getppid"), "uprobe"),
    on_perf("uretprobe", "at_uprobe", getppid_of_libc(retprobe=True), "uprobe"),
    Case(
        "uprobe.multi",
        "at_uprobe_multi",
        lambda _: UprobeMulti(libc_path(), "getppi*"),
        getppid,
        ("uprobe_multi",),
    ),
    Case(
        "uretprobe.multi",
        "at_uprobe_multi",
        lambda stage: UprobeMulti(libc_path(), ("getppid", "getpgid"), pid=stage.target, retprobe=True),
        getppid,
        ("uprobe_multi",),
    ),
    on_usdt("usdt", "called"),
    on_usdt("usdt-semaphore", "wanted"),
    Case("fentry", "at_fentry", lambda _: Fentry(ASKED), getpgid, ("fentry",)),
    Case("fexit", "at_fexit", lambda _: Fentry(ASKED, exit=True), getpgid, ("fentry",)),
    Case("fmod_ret", "at_fmod_ret", lambda _: Fentry(ASKED, modify=True), getpgid, ("fentry",)),
    Case("lsm", "at_lsm", lambda _: Lsm("task_getpgid"), getpgid, ("lsm",)),
    on_samples("perf_event", lambda _: PerfEvent("cpu-clock", frequency=999)),
    on_samples("perf_event-pid", lambda stage: PerfEvent("cpu-clock", frequency=999, pid=stage.target)),
    on_packets("xdp", "at_xdp", Xdp, "xdp", other="at_xdp_other"),
    on_packets("xdp-generic", "at_xdp", lambda name: Xdp(name, "generic"), "xdp", other="at_xdp_other"),
    on_packets(
        "tcx-ingress",
        "at_tc",
        lambda name: Tc(name, "ingress", mechanism="tcx"),
        "tcx",
        other="at_tc_other",
    ),
    on_packets(
        "tcx-egress",
        "at_tc",
        lambda name: Tc(name, "egress", first=True, mechanism="tcx"),
        "tcx",
        other="at_tc_other",
    ),
    on_packets(
        "clsact-ingress", "at_tc", lambda name: Tc(name, mechanism="clsact"), "clsact", held_by="nothing"
    ),
    on_packets(
        "clsact-egress",
        "at_tc",
        lambda name: Tc(name, "egress", mechanism="clsact", first=True),
        "clsact",
        held_by="nothing",
    ),
    Case(
        "cgroup",
        "at_cgroup",
        lambda stage: Cgroup(stage.cgroup or ""),
        datagrams,
        ("cgroup",),
        needs=("network", "cgroup", "sender"),
        other="at_cgroup_other",
    ),
    Case(
        "iter",
        "at_iter",
        lambda _: IteratorHook(),
        read,
        ("task_iterator",),
        other="at_iter_other",
        exact=False,
    ),
]
