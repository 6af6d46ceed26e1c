"""Links over time, threads and processes: nothing is left behind, and nothing is taken from somebody else."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kernel import places
from kernel.compiled import object_of, program_of
from kernel.leftovers import wait_until_gone
from sonde.bpf import Object, ObjectSpec
from sonde.bpf.hooks import PerfEvent, RawTracepoint, Tc, TcLink, Tracepoint, Usdt
from sonde.errors import AttachError

CYCLES = 1000
THREADS = 8
HOOKS = "links/hooks.bpf.c"


def load(program: str, *, source: str = HOOKS, target: int = 0) -> Object:
    with ObjectSpec.open(object_of(source)) as spec:
        spec.programs[program].autoload = True
        spec.knobs["target"].value = target
        return spec.load()


@pytest.mark.host_only  # each waits for the kernel, which takes half a second under emulation
def test_thousand_cycles_leave_descriptors_programs_and_maps_as_before() -> None:
    """A raw tracepoint, because closing a perf event waits a tenth of a second for the kernel."""
    hook = RawTracepoint("task_rename")
    programs, maps = [], []
    load("at_raw_tp").close()
    gc.collect()
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(CYCLES):
        with load("at_raw_tp") as loaded:
            loaded.programs["at_raw_tp"].attach(hook)
            programs.append(loaded.programs["at_raw_tp"].id)
            maps += [each.id for each in loaded.maps.values()]
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert len(set(programs)) == CYCLES
    assert len(set(maps)) == 2 * CYCLES
    for number in programs:
        wait_until_gone("prog", number)
    for number in maps:
        wait_until_gone("map", number)


def test_eight_threads_open_attach_and_close_each_its_own() -> None:
    """Every thread sees its own calls counted, while the others come and go."""
    failures: list[BaseException] = []

    def live() -> None:
        try:
            for _ in range(10):
                with load("at_tracepoint", target=os.getpid()) as loaded:
                    link = loaded.programs["at_tracepoint"].attach(Tracepoint("syscalls/sys_enter_getppid"))
                    before = loaded.variables["runs"].value
                    for _ in range(101):
                        os.getppid()
                    assert loaded.variables["runs"].value - before >= 101
                    link.close()
        except BaseException as error:  # noqa: BLE001  # whatever a thread fails with fails the test
            failures.append(error)

    threads = [threading.Thread(target=live) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_eight_threads_close_one_link_and_its_object_at_once() -> None:
    for _ in range(20):
        loaded = load("at_raw_tp")
        link = loaded.programs["at_raw_tp"].attach(RawTracepoint("task_rename"))
        number = link.id
        assert number is not None
        barrier = threading.Barrier(THREADS)

        def close(
            barrier: threading.Barrier = barrier,
            closes: tuple[Callable[[], None], ...] = (link.close, loaded.close),
        ) -> None:
            barrier.wait()
            for each in closes:
                each()

        threads = [threading.Thread(target=close) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until_gone("link", number)


def test_fork_does_not_detach_what_its_parent_attached() -> None:
    """A child has the same descriptors; its close, and its end, must not reach the parent's perf event."""
    with load("at_perf_event", target=os.getpid()) as loaded:
        link = loaded.programs["at_perf_event"].attach(PerfEvent(frequency=999))
        child = os.fork()
        if child == 0:
            link.close()
            loaded.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        before = loaded.variables["runs"].value
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        assert loaded.variables["runs"].value > before


def test_usdt_link_and_object_may_be_forgotten_in_one_cycle(require_feature: Callable[[str], None]) -> None:
    """libbpf's USDT link reads its object when it goes: the garbage collector must not free that first."""
    require_feature("usdt")
    marked = str(program_of("links/marked.c"))
    with places.worker([marked]) as worker:
        for _ in range(5):
            loaded = load("at_usdt", source="links/usdt.bpf.c")
            program = loaded.programs["at_usdt"]
            program.attach(Usdt(marked, "sonde", "called", pid=worker.pid))
            number = program.id
            del loaded, program
            gc.collect()
            wait_until_gone("prog", number)


def test_interpreter_ends_quietly_with_links_open() -> None:
    """No message of a half-dismantled module, whatever the order in which it goes."""
    script = f"""
import os
from sonde.bpf import ObjectSpec
from sonde.bpf.hooks import RawTracepoint
spec = ObjectSpec.open({str(object_of(HOOKS))!r})
spec.programs["at_raw_tp"].autoload = True
loaded = spec.load()
link = loaded.programs["at_raw_tp"].attach(RawTracepoint("task_rename"))
print(link.id)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    wait_until_gone("link", int(done.stdout))


# ---- the guardian of programs on clsact ----------------------------------------------------------------------


@pytest.fixture
def network(require_feature: Callable[[str], None]) -> Iterator[places.Network]:
    require_feature("clsact")
    with places.network() as made:
        yield made


def attach_clsact(
    loaded: Object, network: places.Network, direction: str = "ingress", *, first: bool = False
) -> TcLink:
    hook = Tc(network.interface, direction, first=first, mechanism="clsact")  # type: ignore[arg-type]
    link = loaded.programs["at_tc"].attach(hook)
    assert isinstance(link, TcLink)
    assert link.mechanism == "clsact"
    return link


def tc(network: places.Network, *arguments: str) -> str:
    command = ["tc", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def has_qdisc(network: places.Network) -> bool:
    return "clsact" in tc(network, "qdisc", "show", "dev", network.interface)


def guardians() -> list[int]:
    """The guardians below this process: their name is theirs alone."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text(errors="replace").rpartition(") ")
            if fields[0].endswith("(sonde-guardian") and int(fields[2].split()[1]) == os.getpid():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_guardian_ends_with_its_link(network: places.Network) -> None:
    with load("at_tc") as loaded:
        link = attach_clsact(loaded, network)
        assert len(guardians()) == 1
        assert has_qdisc(network)
        link.close()
        assert guardians() == []
        assert not has_qdisc(network)


def test_guardian_is_no_child_that_the_application_waits_for(network: places.Network) -> None:
    with load("at_tc") as loaded, attach_clsact(loaded, network), pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_guardian_holds_no_descriptor_of_ours(network: places.Network) -> None:
    """A pipe that we close has to be closed: its reader must not wait for the guardian."""
    reader, writer = os.pipe()
    with load("at_tc") as loaded, attach_clsact(loaded, network):
        (guardian,) = guardians()
        targets = [os.readlink(entry) for entry in Path(f"/proc/{guardian}/fd").iterdir()]
        assert len(targets) == 2
        os.close(writer)
        assert os.read(reader, 1) == b""
    os.close(reader)


def test_killed_guardian_costs_nothing_but_its_watch(network: places.Network) -> None:
    """The link then takes the filter away itself."""
    with load("at_tc") as loaded:
        link = attach_clsact(loaded, network)
        os.kill(guardians()[0], signal.SIGKILL)
        assert network.ping(3) == 3
        assert loaded.variables["runs"].value == 3
        link.close()
        network.ping(3)
        assert loaded.variables["runs"].value == 3
        assert not has_qdisc(network)


def test_guardian_ignores_signals_to_the_whole_group(network: places.Network) -> None:
    with load("at_tc") as loaded, attach_clsact(loaded, network):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            os.kill(guardians()[0], number)
        assert network.ping(3) == 3
        assert len(guardians()) == 1
        assert loaded.variables["runs"].value == 3


def test_qdisc_goes_with_the_last_of_our_links(network: places.Network) -> None:
    with load("at_tc") as one, load("at_tc") as other:
        ingress, egress = attach_clsact(one, network), attach_clsact(other, network, "egress")
        ingress.close()
        assert has_qdisc(network)
        assert network.ping(5) == 5
        assert (one.variables["runs"].value, other.variables["runs"].value) == (0, 5)
        egress.close()
        assert not has_qdisc(network)


def test_qdisc_of_somebody_else_stays(network: places.Network) -> None:
    tc(network, "qdisc", "add", "dev", network.interface, "clsact")
    with load("at_tc") as loaded:
        attach_clsact(loaded, network).close()
    assert has_qdisc(network)


def test_qdisc_of_ours_stays_while_somebody_else_uses_it(
    network: places.Network, bpf_filesystem: Path
) -> None:
    with load("at_tc") as loaded, load("at_tc") as theirs:
        link = attach_clsact(loaded, network)
        theirs.programs["at_tc"].pin(bpf_filesystem / "theirs")
        place = ["dev", network.interface, "egress"]
        tc(
            network,
            "filter",
            "add",
            *place,
            "bpf",
            "direct-action",
            "object-pinned",
            str(bpf_filesystem / "theirs"),
        )
        link.close()
        assert has_qdisc(network)
        assert network.ping(3) == 3
        assert theirs.variables["runs"].value == 3


def test_filter_runs_behind_others_unless_it_is_to_be_first(network: places.Network) -> None:
    """Two programs that let packets through both count; the order is what `tc` shows."""
    with load("at_tc") as one, load("at_tc") as other:
        attach_clsact(one, network)
        attach_clsact(other, network, first=True)
        shown = tc(network, "filter", "show", "dev", network.interface, "ingress")
        ids = [int(part.split()[0]) for part in shown.split(" id ")[1:]]
        assert ids == [other.programs["at_tc"].id, one.programs["at_tc"].id]
        network.ping(7)
        assert (one.variables["runs"].value, other.variables["runs"].value) == (7, 7)


def test_interface_that_goes_takes_the_filter_along(network: places.Network) -> None:
    with load("at_tc") as loaded:
        link = attach_clsact(loaded, network)
        subprocess.run(["ip", "link", "delete", network.interface], check=True)
        link.close()
        assert guardians() == []


def test_tcx_refuses_a_program_that_is_there_already(
    network: places.Network, require_feature: Callable[[str], None]
) -> None:
    require_feature("tcx")
    with load("at_tc") as loaded:
        loaded.programs["at_tc"].attach(Tc(network.interface, "egress"))
        with pytest.raises(AttachError, match="attached there already"):
            loaded.programs["at_tc"].attach(Tc(network.interface, "egress"))
        assert len(loaded.links) == 1


def test_interface_that_is_not_there_names_those_that_are(network: places.Network) -> None:
    with load("at_tc") as loaded, pytest.raises(AttachError, match=r"it has .*sonde0"):
        loaded.programs["at_tc"].attach(Tc("nosuch0"))
    assert socket.if_nametoindex("lo") == 1
