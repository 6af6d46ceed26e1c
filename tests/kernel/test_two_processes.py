"""Two processes: everything is read through received descriptors as it is without them, to the end of either."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernel import leftovers
from kernel.agent_process import Agent, agent, descriptors, fields
from kernel.agent_runs import BEGUN, CLOSE, EXPECTED, FINAL, START, WORKLOAD, assert_exact
from kernel.effort import effort
from kernel.sonde_process import child, is_alive, wait_until_gone

CAP_SYS_PTRACE = 19


# ---- reading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["latency", "counts", "calls"])
def test_a_prime_count_is_exact_through_received_descriptors(shared: Agent, output: str) -> None:
    """Tables, cells, the ring, accounting and recursion misses, read without privileges; stop is final."""
    expected = BEGUN if output == "counts" else EXPECTED
    with child(WORKLOAD) as working:
        programs = shared.do(START, output=output, pid=working.pid, given={})
        working.run()
        found = shared.do(FINAL)
        assert_exact(found, expected)
        working.run()
        again = shared.do("batch = runs[-1].read(); result = [batch.accounting.as_dict(), len(batch)]")
        assert found["figures"] == again[0]
        assert 0 == again[1] or output != "calls"
    shared.do(CLOSE)
    for number in programs:
        leftovers.wait_until_gone("prog", number)


def test_records_of_a_stream_come_while_it_runs(shared: Agent) -> None:
    with child("import os\nfor _ in range(101): os.getppid()") as working:
        shared.do(START, output="calls", pid=working.pid, given={"syscall": ["getppid"]})
        total = 0
        for _ in range(3):
            working.run()
            total += shared.do("result = len(runs[-1].read())")
        final = shared.do(FINAL)
        assert 303 == total + len(final["counts"])
        assert 303 == final["figures"]["delivered"]
        assert final["balanced"]
    shared.do(CLOSE)


def test_sampling_and_selection_reach_the_kernel(shared: Agent) -> None:
    """What was asked for over the wire is what a run here would do: one call in three, of one kind, of one process."""
    with child("import os\nfor _ in range(30011): os.getppid(); os.getuid()") as working:
        shared.do(START, output="counts", pid=working.pid, given={"syscall": ["getppid"], "sample": 3})
        working.run()
        found = shared.do(FINAL)
    assert 3 == shared.do("result = batch.scale")
    assert ["getppid"] == [name for name, _, _ in found["counts"]]
    count = found["counts"][0][2]
    # Six standard deviations of a binomial with p = 1/3.
    assert abs(count - 30011 / 3) < 6 * (30011 * 2 / 9) ** 0.5
    assert found["figures"]["sampled_out"] + count + found["figures"]["lost"].get("recursion", 0) >= 30011
    assert found["balanced"]
    shared.do(CLOSE)


def test_runs_and_time_are_counted_in_a_window(shared: Agent) -> None:
    """The kernel's own count of a program, read by descriptor; the loader ends the window by itself."""
    with child("import os\nfor _ in range(2003): os.getppid()") as working:
        shared.do(START, output="counts", pid=working.pid, given={})
        before = descriptors(shared.loader_pid)
        shared.do("loader.count_runs(10); program = runs[-1].loaded.programs['count_enter']")
        first = shared.do("result = [program.run_count, program.run_time_ns]")
        working.run()
        second = shared.do("result = [program.run_count, program.run_time_ns]; loader.count_runs(0.2)")
        assert second[0] - first[0] >= 2003
        assert second[1] > first[1]
        deadline = time.monotonic() + 60
        while descriptors(shared.loader_pid) > before:
            assert time.monotonic() < deadline, "the window stays open"
            time.sleep(0.05)
    shared.do(CLOSE)


def test_a_live_variable_is_set_by_the_loader_and_read_here(shared: Agent) -> None:
    shared.do(START, output="counts", pid=os.getpid(), given={})
    assert 7 == shared.do(
        "runs[-1].set_variable('unfollowed', 7); result = runs[-1].loaded.variables['unfollowed'].value"
    )
    kind, message = shared.fails("runs[-1].loaded.variables['unfollowed'].value = 8")
    assert ("KnobError", True) == (kind, "cannot be written" in message)
    assert "KnobError" == shared.fails("runs[-1].set_variable('active', 0)")[0]
    assert "KnobError" == shared.fails("runs[-1].set_variable('unfollowedd', 0)")[0]
    assert "KnobError" == shared.fails("runs[-1].set_variable('unfollowed', -1)")[0]
    shared.do(CLOSE)


def test_what_is_described_is_what_runs(shared: Agent) -> None:
    shared.do(START, output="latency", pid=os.getpid(), given={})
    told = shared.do("result = runs[-1].describe()")
    assert {"latency_enter", "latency_exit"} <= set(told["hooks"])
    assert told["hooks"] == shared.do("result = dict(runs[-1].loaded.links)")
    assert told["map_memory_bytes"] > 0
    shared.do(CLOSE)


def test_who_a_process_is_even_another_users() -> None:
    """With CAP_SYS_PTRACE the executable; without it the rest. A process that has gone is left out."""
    with subprocess.Popen(["sleep", "600"], user="nobody", group="nogroup", extra_groups=[]) as other:
        try:
            code = (
                "found = loader.identify([pid, 1, 4194303]).get(pid)\n"
                "result = [found.comm.decode(), found.executable.decode(), found.parent, found.user, found.start_ticks]"
            )
            path = os.readlink(f"/proc/{other.pid}/exe")
            ticks = int(Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[19])
            user = int(fields(other.pid)["Uid"].split()[0])
            with agent(probes=["syscalls"], identities=True) as started:
                assert ["sleep", path, os.getpid(), user, ticks] == started.do(code, pid=other.pid)
                many = started.do("result = len(loader.identify([pid] * 1009))", pid=other.pid)
                assert 1 == many
            with agent(probes=["syscalls"]) as started:
                assert ["sleep", "", os.getpid(), user, ticks] == started.do(code, pid=other.pid)
        finally:
            other.kill()


def test_a_process_that_proc_hides_is_not_taken_for_one_that_ended() -> None:
    """Its rows would be moved out of the table while it lives, which loses counts (hidepid, ProtectProc=)."""
    code = (
        "import os, sys\nfrom sonde._libbpf import lib\nfrom sonde.records.retirement import lives, start_ticks\n"
        "os.setgroups([])\nos.setgid(65534)\nlib.sonde_set_capabilities(0, 0, 0)\nfrom subprocess import Popen\n"
        "pid = int(sys.argv[1])\nprint(start_ticks(pid), lives(pid, 1), lives(os.getpid(), 1), lives(4194303, 1))"
    )
    hide = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    with subprocess.Popen(["sleep", "600"]) as other:
        try:
            words = ["unshare", "-m", "sh", "-c", hide, "sh", sys.executable, "-c", code, str(other.pid)]
            done = subprocess.run(words, capture_output=True, text=True, timeout=120)
        finally:
            other.kill()
    assert ("None True False False\n", "") == (done.stdout, done.stderr)


# ---- the end of either ------------------------------------------------------------------------------------------


def test_a_killed_loader_leaves_exact_totals_and_nothing_attached() -> None:
    """The agent sees it, what was counted is final and balanced, and what happens afterwards is not seen."""
    with agent(probes=["syscalls"]) as started, child(WORKLOAD) as working:
        programs = started.do(START, output="latency", pid=working.pid, given={})
        working.run()
        assert started.do("result = loader.lost") is False
        os.kill(started.loader_pid, signal.SIGKILL)
        readable = "import select\nresult = [bool(select.select([loader], [], [], 120)[0]), loader.lost]"
        assert [True, True] == started.do(readable)
        found = started.do(FINAL)
        working.run()
        assert_exact(found)
        assert found["figures"] == started.do("result = runs[-1].read().accounting.as_dict()")
        for request in (
            "loader.start('syscalls')",
            "loader.identify([1])",
            "runs[-1].set_variable('unfollowed', 1)",
        ):
            assert "LoaderError" == started.fails(request)[0]
        started.do(CLOSE)
        for number in programs:
            leftovers.wait_until_gone("prog", number)
        assert not started.do("import os\nresult = os.path.exists(f'/proc/{loader.pid}')")


def test_a_loader_killed_while_others_read_is_final_only_when_it_is_gone() -> None:
    """Without a look at ``lost`` first: stop finds out by itself."""
    with agent(probes=["syscalls"]) as started, child(WORKLOAD) as working:
        started.do(START, output="counts", pid=working.pid, given={})
        working.run()
        os.kill(started.loader_pid, signal.SIGKILL)
        found = started.do(FINAL)
        working.run()
        assert_exact(found, BEGUN)


def test_a_killed_agent_takes_the_loader_and_all_that_is_attached_along() -> None:
    with agent(probes=["syscalls"]) as started:
        programs = started.do(START, output="latency", pid=os.getpid(), given={})
        assert all(leftovers.exists("prog", number) for number in programs)
        started.process.kill()
        started.process.wait()
        assert wait_until_gone([started.loader_pid], 60)
        for number in programs:
            leftovers.wait_until_gone("prog", number)


def test_an_agent_that_ends_ends_the_loader_and_reaps_it() -> None:
    with agent(probes=["syscalls"]) as started:
        started.do(START, output="counts", pid=os.getpid(), given={})
        started.process.communicate(timeout=120)
        assert 0 == started.process.returncode
        assert not is_alive(started.loader_pid)


def test_signals_are_the_agents() -> None:
    """Ctrl-C in a terminal, systemd's SIGTERM and a SIGHUP go to all processes; the loader lets them pass."""
    with agent(probes=["syscalls"]) as started:
        started.do("loader.ready")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
            os.kill(started.loader_pid, number)
        assert {} == started.do("result = loader.identify([4194303])")
        assert is_alive(started.loader_pid)


def test_a_loader_that_cannot_start_says_why() -> None:
    """A user that does not exist: the reason comes over the wire, and no process stays."""
    code = (
        "from sonde.agent.loader.loader import Loader\nloader = Loader.spawn(('syscalls',), user='no-such-user')\n"
        "try:\n    loader.ready\nexcept Exception as error:\n    print(type(error).__name__, error)\nloader.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "SondeError run as user no-such-user: there is no such user: useradd --system\n" == done.stdout
    assert "" == done.stderr


@pytest.mark.parametrize("cycles", [effort(200, emulated=11)])
def test_descriptors_are_flat_over_many_runs(shared: Agent, cycles: int) -> None:
    once = "run = loader.start('syscalls', 'counts'); run.read(); run.stop(); run.read(); run.close()"
    # What is made once is there by then, and what the C library keeps of what it gets back.
    shared.do(f"for _ in range(14):\n    {once}")
    before = descriptors(shared.pid), descriptors(shared.loader_pid)
    memory = int(fields(shared.loader_pid)["RssAnon"].split()[0])
    shared.do(f"for _ in range({cycles}):\n    {once}")
    assert before == (descriptors(shared.pid), descriptors(shared.loader_pid))
    # What a run leaves must not add up: less than 20 kB each.
    assert int(fields(shared.loader_pid)["RssAnon"].split()[0]) - memory < 20 * cycles + 1024
