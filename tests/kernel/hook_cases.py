"""Every kind of hook with work that it counts: what the conformance suite in test_links.py runs over.

A case attaches in this process, or in another one that is then killed (``attach_and_wait.py``).
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
        assert self.worker.stdin is not None
        assert self.worker.stdout is not None
        self.worker.stdin.write(f"{line}\n")
        self.worker.stdin.flush()
        return self.worker.stdout.readline().strip()

    @property
    def wire(self) -> places.Network:
        assert self.network is not None
        return self.network


@dataclass(frozen=True)
class Case:
    """A hook, the program that goes there, and work whose runs are known: ``work(stage, link, count)``."""

    name: str
    program: str
    hook: Callable[[Stage], Hook]
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
                    stage.worker = stack.enter_context(_worker(command))
            if "marked" in self.needs and stage.worker is not None:
                stage.target = stage.worker.pid
            if stage.cgroup is not None and stage.worker is not None:
                (stage.cgroup / "cgroup.procs").write_text(str(stage.worker.pid))
            yield stage


SENDER = str(Path(__file__).with_name("send_datagrams.py"))


@contextmanager
def _worker(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield worker
    finally:
        worker.kill()
        worker.communicate()


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


def veth(stage: Stage) -> str:
    """This side's end of the pair."""
    return stage.wire.interface


UPROBE = {"work": getppid, "features": ("uprobe",), "held_by": "perf"}
NETWORK = {"work": ping, "needs": ("network",)}

CASES = [
    Case(
        "tracepoint",
        "at_tracepoint",
        lambda stage: Tracepoint("syscalls/sys_enter_getppid"),
        getppid,
        held_by="perf",
    ),
    Case("section", "at_section", lambda stage: Section(), getppid, held_by="perf"),
    Case("raw_tp", "at_raw_tp", lambda stage: RawTracepoint("task_rename"), rename),
    Case("tp_btf", "at_tp_btf", lambda stage: TpBtf("task_rename"), rename, ("tp_btf",)),
    Case("kprobe", "at_kprobe", lambda stage: Kprobe(GETPPID), getppid, ("kprobe",), held_by="perf"),
    Case(
        "kretprobe",
        "at_kprobe",
        lambda stage: Kprobe(GETPPID, retprobe=True),
        getppid,
        ("kprobe",),
        held_by="perf",
    ),
    Case(
        "kprobe.multi",
        "at_kprobe_multi",
        lambda stage: KprobeMulti(f"{GETPPID[:-2]}*"),
        getppid,
        ("kprobe_multi",),
    ),
    Case(
        "kretprobe.multi",
        "at_kprobe_multi",
        lambda stage: KprobeMulti((GETPPID,), retprobe=True),
        getppid,
        ("kprobe_multi",),
    ),
    Case("uprobe", "at_uprobe", lambda stage: Uprobe(libc_path(), "getppid", pid=stage.target), **UPROBE),
    Case("uprobe-everywhere", "at_uprobe", lambda stage: Uprobe(libc_path(), "getppid"), **UPROBE),
    Case(
        "uretprobe",
        "at_uprobe",
        lambda stage: Uprobe(libc_path(), "getppid", pid=stage.target, retprobe=True),
        **UPROBE,
    ),
    Case(
        "uprobe.multi",
        "at_uprobe_multi",
        lambda stage: UprobeMulti(libc_path(), "getppi*"),
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
    Case(
        "usdt",
        "at_usdt",
        lambda stage: Usdt(str(program_of("links/marked.c")), "sonde", "called", pid=stage.target, cookie=7),
        marked,
        ("usdt",),
        object="links/usdt.bpf.c",
        needs=("marked",),
        held_by="nothing",
    ),
    Case(
        "usdt-semaphore",
        "at_usdt",
        lambda stage: Usdt(str(program_of("links/marked.c")), "sonde", "wanted", pid=stage.target),
        marked,
        ("usdt",),
        object="links/usdt.bpf.c",
        needs=("marked",),
        held_by="nothing",
    ),
    Case("fentry", "at_fentry", lambda stage: Fentry("security_task_getpgid"), getpgid, ("fentry",)),
    Case("fexit", "at_fexit", lambda stage: Fentry("security_task_getpgid", exit=True), getpgid, ("fentry",)),
    Case(
        "fmod_ret",
        "at_fmod_ret",
        lambda stage: Fentry("security_task_getpgid", modify=True),
        getpgid,
        ("fmod_ret",),
    ),
    Case("lsm", "at_lsm", lambda stage: Lsm("task_getpgid"), getpgid, ("lsm",)),
    Case(
        "perf_event",
        "at_perf_event",
        lambda stage: PerfEvent("cpu-clock", frequency=999),
        compute,
        held_by="perf",
        exact=False,
    ),
    Case(
        "perf_event-pid",
        "at_perf_event",
        lambda stage: PerfEvent("cpu-clock", frequency=999, pid=stage.target),
        compute,
        held_by="perf",
        exact=False,
    ),
    Case("xdp", "at_xdp", lambda stage: Xdp(veth(stage)), features=("xdp",), other="at_xdp_other", **NETWORK),
    Case(
        "xdp-generic",
        "at_xdp",
        lambda stage: Xdp(veth(stage), "generic"),
        features=("xdp",),
        other="at_xdp_other",
        **NETWORK,
    ),
    Case(
        "tcx-ingress",
        "at_tc",
        lambda stage: Tc(veth(stage), "ingress"),
        features=("tcx",),
        other="at_tc_other",
        **NETWORK,
    ),
    Case(
        "tcx-egress",
        "at_tc",
        lambda stage: Tc(veth(stage), "egress", first=True),
        features=("tcx",),
        other="at_tc_other",
        **NETWORK,
    ),
    Case(
        "clsact-ingress",
        "at_tc",
        lambda stage: Tc(veth(stage), "ingress", mechanism="clsact"),
        features=("clsact",),
        held_by="nothing",
        **NETWORK,
    ),
    Case(
        "clsact-egress",
        "at_tc",
        lambda stage: Tc(veth(stage), "egress", mechanism="clsact", first=True),
        features=("clsact",),
        held_by="nothing",
        **NETWORK,
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
        lambda stage: IteratorHook(),
        read,
        ("task_iterator",),
        other="at_iter_other",
        exact=False,
    ),
]
