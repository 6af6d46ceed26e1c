"""Two processes: what each may do, and that everything is read through received descriptors as it is without them."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel import leftovers
from kernel.agent_process import Agent, agent, descriptors, fields
from kernel.effort import effort
from kernel.sonde_process import child, is_alive, wait_until_gone
from sonde.probes.syscalls.workload import Workload

CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 19, 21, 38, 39
NOTHING = "0" * 16
WORKLOAD = "from sonde.probes.syscalls.workload import Workload\nWorkload(3, 1009).run()"
EXPECTED = Workload(3, 1009).expected
BEGUN = {(name, None): count for (name, error), count in EXPECTED.items() if not error}
"""Of calls that are counted when they begin those that nobody else in the process makes."""
START = """
from sonde.probe import Selection
size = 1 << 24 if output == 'calls' else None
run = loader.start('syscalls', output, selection=Selection(pid=pid), values=given, max_entries=size)
runs.append(run)
result = [program.id for program in run.loaded.programs.values()]
"""
FINAL = """
runs[-1].stop()
batch = runs[-1].read()
result = {'counts': counts(batch), 'balanced': batch.accounting.balanced, 'final': batch.accounting.final,
          'figures': batch.accounting.as_dict()}
"""
CLOSE = "runs.pop().close()"
GUEST = os.environ.get("SONDE_VM_KERNEL")


@pytest.fixture(scope="module")
def shared() -> Iterator[Agent]:
    """One pair of processes for the tests that leave it as it was."""
    with agent(probes=["syscalls"], statistics=True, identities=True) as started:
        yield started


def masks(*numbers: int) -> str:
    return f"{sum(1 << number for number in numbers):016x}"


def assert_exact(found: dict[str, Any], expected: dict[tuple[str, str | None], int] = EXPECTED) -> None:
    """Each of these calls is there, but for those that the kernel says it skipped machine-wide (Linux 7.x)."""
    here = {(name, error): count for name, error, count in found["counts"]}
    missing = {key: count - here.get(key, 0) for key, count in expected.items()}
    assert min(missing.values()) >= 0, missing
    assert sum(missing.values()) <= found["figures"]["lost"].get("recursion", 0), missing
    assert found["final"], found
    assert found["balanced"], found


# ---- what each may do -------------------------------------------------------------------------------------------


def test_the_agent_has_no_capability_in_any_thread(shared: Agent) -> None:
    """No set holds anything, whatever library starts threads; only CAP_BPF where the kernel insists."""
    shared.do(
        "import numpy; import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    kept = masks(CAP_BPF) if "CAP_BPF" in shared.do("result = list(dropped.kept)") else NOTHING
    threads = [int(name) for name in os.listdir(f"/proc/{shared.pid}/task")]
    assert len(threads) >= 2
    for thread in threads:
        found = fields(shared.pid, thread)
        assert [kept, kept] == [found["CapEff"], found["CapPrm"]]
        assert [NOTHING] * 3 == [found["CapInh"], found["CapBnd"], found["CapAmb"]]
        assert "1" == found["NoNewPrivs"]


def test_the_loader_has_what_the_probes_name_and_no_more() -> None:
    with agent(probes=["syscalls"]) as started:
        found = fields(started.loader_pid)
    named = masks(CAP_BPF, CAP_PERFMON)
    assert [named, named] == [found["CapEff"], found["CapPrm"]]
    assert [NOTHING] * 3 == [found["CapInh"], found["CapBnd"], found["CapAmb"]]
    assert "1" == found["NoNewPrivs"]
    assert "sonde-loader" == found["Name"]


def test_what_is_held_back_does_not_count_until_it_is_needed(shared: Agent) -> None:
    shared.do("loader.count_runs(0.05); loader.identify([1])")
    found = fields(shared.loader_pid)
    assert masks(CAP_BPF, CAP_PERFMON) == found["CapEff"]
    assert masks(CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE) == found["CapPrm"]


def test_the_agent_cannot_load_by_itself(shared: Agent) -> None:
    """Dropped is dropped: the same probe does not start in the agent's own process."""
    kind, message = shared.fails(
        "from sonde.run import Run\nfrom sonde.probes import probe\nRun(probe('syscalls'), 'counts').start()"
    )
    assert "PermissionDeniedError" == kind
    assert "CAP_PERFMON" in message


@pytest.mark.parametrize("python", [sys.executable, "/usr/bin/python3"], ids=["ours", "the system's"])
def test_another_user_where_that_one_can_read_the_packages(python: str) -> None:
    """Both processes become it; else both say what it cannot read, and that is so."""
    version = "import sys; print(*sys.version_info[:2])"
    if not os.path.exists(python):
        pytest.skip(f"there is no {python}")
    found = subprocess.run([python, "-c", version], capture_output=True, text=True, check=True).stdout.split()
    if python != sys.executable and [str(part) for part in sys.version_info[:2]] != found:
        pytest.skip(f"{python} is Python {'.'.join(found)}, for which the packages here are not")
    with agent(probes=["syscalls"], user="nobody", python=python) as started:
        notes = started.do("result = list(dropped.notes)"), started.do("result = loader.ready.notes")
        users = fields(started.pid)["Uid"].split(), fields(started.loader_pid)["Uid"].split()
        started.do(START, output="counts", pid=os.getpid(), given={})
        assert started.do(FINAL)["balanced"]
    hidden = [note for some in notes for note in some if "cannot read" in note]
    if not hidden:
        assert [[str(pwd.getpwnam("nobody").pw_uid)] * 4] * 2 == list(users)
        return
    assert 2 == len(hidden)
    assert [["0"] * 4] * 2 == list(users)
    place = hidden[0].split("cannot read ")[1].split(",")[0]
    looked = subprocess.run(
        ["ls", place], user="nobody", group="nogroup", extra_groups=[], capture_output=True
    )
    assert 0 != looked.returncode, place


def test_capabilities_are_each_threads_own_so_there_may_be_one() -> None:
    code = (
        "import threading\nfrom sonde.agent.privileges import drop_privileges\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\ndrop_privileges()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "2 threads run" in done.stderr.splitlines()[-1]


def test_descriptors_that_a_parent_left_open_are_closed() -> None:
    """But for those that are named, and for the process's own."""
    code = (
        "import os, sys\nfrom sonde.agent.privileges import drop_privileges\n"
        "own = os.open('/dev/null', os.O_RDONLY)\ndrop_privileges(keep_descriptors=(int(sys.argv[1]),))\n"
        "print([fd in map(int, os.listdir('/proc/self/fd')) for fd in (own, *map(int, sys.argv[1:]))])"
    )
    kept, left = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(kept), str(left)],
            capture_output=True,
            text=True,
            timeout=60,
            pass_fds=(kept, left),
        )
    finally:
        os.close(kept)
        os.close(left)
    assert ("[True, True, False]\n", "") == (done.stdout, done.stderr)


def limited(*capabilities: str) -> tuple[str, ...]:
    """Words before a command that give root these capabilities alone, as a container does."""
    return ("setpriv", "--bounding-set", ",".join(("-all", *(f"+{name}" for name in capabilities))))


def test_as_a_container_with_the_two_capabilities() -> None:
    """Nothing else is needed, not even to give them up; the bounding set stays then, which both say."""
    with agent(probes=["syscalls"], before=limited("bpf", "perfmon")) as started, child(WORKLOAD) as working:
        assert "CAP_SETPCAP" in started.do("result = str(dropped)")
        assert ["CAP_BPF", "CAP_PERFMON"] == started.do("result = loader.ready.kept")
        named = masks(CAP_BPF, CAP_PERFMON)
        assert [named, named] == [fields(started.loader_pid)["CapPrm"], fields(started.loader_pid)["CapBnd"]]
        started.do(START, output="counts", pid=working.pid, given={})
        working.run()
        assert_exact(started.do(FINAL), BEGUN)


def test_as_a_container_with_cap_sys_admin_instead() -> None:
    """Which the kernel takes for both; it is kept, and said, for want of them."""
    limits = limited("sys_admin")
    if not may_read_maps():
        # CAP_BPF is not there to be kept for that, and CAP_SYS_ADMIN would be too much: the agent refuses to run.
        with pytest.raises(AssertionError, match="ended with 1"), agent(probes=["syscalls"], before=limits):
            pass
        return
    with agent(probes=["syscalls"], before=limits) as started, child(WORKLOAD) as working:
        assert ["CAP_SYS_ADMIN"] == started.do("result = loader.ready.kept")
        assert "for want of CAP_BPF, CAP_PERFMON" in started.do("result = ' '.join(loader.ready.notes)")
        started.do(START, output="counts", pid=working.pid, given={})
        working.run()
        assert_exact(started.do(FINAL), BEGUN)


def test_without_the_capabilities_one_sentence_names_them() -> None:
    code = (
        "from sonde.agent.loader import Loader\nloader = Loader.spawn(('syscalls',))\n"
        "try:\n    loader.ready\nexcept OSError as error:\n    print(error)\nloader.close()"
    )
    words = [*limited("bpf"), sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith(
        "load probes: operation not permitted (EPERM), the process lacks CAP_PERFMON: "
    )
    assert "" == done.stderr


def may_read_maps() -> bool:
    """Whether a process without any capability may read a map, by a trial without the agent."""
    code = (
        "from sonde.bpf.map import create_map, MapShape\n"
        "m = create_map(MapShape('trial', 'array', 4, 4, 1))\nfrom sonde._libbpf import lib\n"
        "lib.sonde_set_capabilities(0, 0, 0)\ntry:\n    m.lookup_bytes(bytes(4)); print('yes')\n"
        "except OSError as error:\n    assert error.errno == 1; print('no')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return {"yes\n": True, "no\n": False}[done.stdout]


def assert_kept_only_where_needed() -> None:
    needed = not may_read_maps()
    with agent(probes=["syscalls"]) as started:
        assert (["CAP_BPF"] if needed else []) == started.do("result = list(dropped.kept)")
        notes = started.do("result = list(dropped.notes)")
        assert needed == any("unprivileged_bpf_disabled" in note for note in notes)
        assert (masks(CAP_BPF) if needed else NOTHING) == fields(started.pid)["CapEff"]
        with child(WORKLOAD) as working:
            started.do(START, output="counts", pid=working.pid, given={})
            working.run()
            assert_exact(started.do(FINAL), BEGUN)


def test_cap_bpf_is_kept_where_the_kernel_refuses_reads_and_only_there() -> None:
    assert_kept_only_where_needed()


@pytest.mark.skipif(GUEST is None, reason="not in a virtual machine: the setting is everybody's")
@pytest.mark.parametrize("setting", ["0", "2"])
def test_cap_bpf_by_both_settings_of_the_kernel(setting: str) -> None:
    path = Path("/proc/sys/kernel/unprivileged_bpf_disabled")
    before = path.read_text()
    path.write_text(setting)
    try:
        assert_kept_only_where_needed()
    finally:
        path.write_text(before)


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
        "from sonde.agent.loader import Loader\nloader = Loader.spawn(('syscalls',), user='no-such-user')\n"
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
