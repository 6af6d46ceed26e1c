"""Two processes: what each may do, with the capabilities that there are."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from kernel.agent_process import Agent, agent, fields
from kernel.agent_runs import BEGUN, FINAL, START, WORKLOAD, assert_exact
from kernel.sonde_process import child

CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 19, 21, 38, 39
NOTHING = "0" * 16
GUEST = os.environ.get("SONDE_VM_KERNEL")


def masks(*numbers: int) -> str:
    return f"{sum(1 << number for number in numbers):016x}"


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
        "from sonde.agent.loader.loader import Loader\nloader = Loader.spawn(('syscalls',))\n"
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
