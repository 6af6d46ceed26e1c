"""``sonde run`` as a process: what it measures, exports and says, over signals and faults."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from kernel.running_agent import CALLS, GETPPID, LISTENS, agent, counts, getppids, only, page_with
from kernel.sonde_process import PATIENCE_S, child, is_alive, start, wait_until_gone

# The same on every kernel: the loader's and the probes' tests run there.
pytestmark = [pytest.mark.kernel, pytest.mark.host_only]


def test_page_and_summary_have_the_workloads_calls(tmp_path: Path) -> None:
    with child(GETPPID) as made, agent(tmp_path, **only(made)) as running:
        made.run()
        page = page_with(running, CALLS)
        summary = running.end()

    assert getppids(page, process_pid=str(made.pid)) == CALLS
    account = summary["outputs"]["syscalls.counts"]
    assert account["seen"] == account["aggregated"] + account["filtered"] + sum(account["lost"].values())
    assert summary["metrics"]["sonde.syscall.count"]["total"] == account["aggregated"]


def test_without_configuration_it_counts_processes_and_calls(tmp_path: Path) -> None:
    with agent(tmp_path) as running:
        for _ in range(13):
            subprocess.run(["/bin/true"], check=True)
        for name in ("sonde_process_execs_total", "sonde_process_exits_total"):
            running.page_where(lambda page, name=name: counts(page, name, process_command="true") >= 13)
        calls = "sonde_syscall_count_total"
        running.page_where(lambda page: counts(page, calls, process_executable_name="true") > 13)


@pytest.mark.parametrize("own", ["false", "true"])
def test_what_either_process_does_is_its_own(tmp_path: Path, own: str) -> None:
    """The loader answers who others are, by reading /proc; that counts only where it is asked for."""
    calls = "sonde_syscall_count_total"
    with agent(tmp_path, series__by="pid", probes__syscalls__own=own) as running:
        pids = {running.process.pid, running.loader_pid}
        subprocess.run(["/bin/true"], check=True)
        page = running.page_where(lambda page: counts(page, "sonde_process_exits_total") > 0)
        counted = {pid for pid in pids if counts(page, calls, process_pid=str(pid))}

    assert counted == (pids if own == "true" else set())


def test_a_sigterm_ends_it_soon_and_leaves_nothing(tmp_path: Path) -> None:
    with agent(tmp_path) as running:
        loader = running.loader_pid
        running.end()

    assert wait_until_gone([loader])


@pytest.mark.parametrize("which", ["agent", "loader"])
def test_a_kill_of_either_ends_both_and_leaves_nothing_attached(tmp_path: Path, which: str) -> None:
    with agent(tmp_path) as running:
        loader = running.loader_pid
        os.kill(loader if which == "loader" else running.process.pid, signal.SIGKILL)
        running.process.wait(timeout=PATIENCE_S)

    assert running.process.returncode == (1 if which == "loader" else -signal.SIGKILL)
    assert wait_until_gone([loader])


def test_a_killed_loader_loses_nothing_that_was_counted(tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    with (
        child(GETPPID) as made,
        agent(tmp_path, **only(made), file__path=str(lines), interval="1h") as running,
    ):
        made.run()
        os.kill(running.loader_pid, signal.SIGKILL)
        running.process.wait(timeout=PATIENCE_S)

    points = [json.loads(line) for line in lines.read_text().splitlines()]
    calls = [
        point["value"]
        for point in points
        if point["metric"] == "sonde.syscall.count" and point["attributes"]["sonde.syscall.name"] == "getppid"
    ]
    assert calls[-1] == CALLS
    assert "the loader has ended" in running.said.read_text()


def test_a_loader_that_does_not_answer_keeps_nobody_waiting(tmp_path: Path) -> None:
    """It is stopped, as by a debugger: the agent ends all the same, with what was counted, and it with the agent."""
    with child(GETPPID) as made, agent(tmp_path, **only(made), interval="1h") as running:
        loader = running.loader_pid
        made.run()
        os.kill(loader, signal.SIGSTOP)
        summary = running.end()

    assert summary["metrics"]["sonde.syscall.count"]["total"] >= CALLS
    account = summary["outputs"]["syscalls.counts"]
    assert account["seen"] == account["aggregated"] + account["filtered"] + sum(account["lost"].values())
    assert "the loader does not answer" in running.said.read_text()
    assert wait_until_gone([loader])


def test_above_its_budget_it_measures_less_says_so_and_comes_back(tmp_path: Path) -> None:
    """A budget that nothing can keep: it goes down to detached; what it exports says that, and /readyz too."""
    with child(GETPPID) as made, agent(tmp_path, **{**only(made), "budget__cpu": "0.01%"}) as running:
        running.until(lambda: "now detached" in running.said.read_text())
        running.page_where(
            lambda page: (
                3 in (counts(page, "sonde_agent_degradation_ratio"), counts(page, "sonde_agent_degradation"))
            )
        )
        with pytest.raises(urllib.request.HTTPError, match="503"):
            running.page("readyz")
        assert running.page("healthz")
        summary = running.end()

    account = summary["outputs"]["syscalls.counts"]
    assert account["seen"] == sum(account[part] for part in ("aggregated", "filtered", "sampled_out")) + sum(
        account["lost"].values()
    )


def test_neither_process_may_do_more_than_it_needs(tmp_path: Path) -> None:
    with agent(tmp_path) as running:
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        loader = Path(f"/proc/{running.loader_pid}/status").read_text()

    assert re.search(r"^CapEff:\s0+$", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\s0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s1$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s1$", loader, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "intervall=1s"], "interval"),
        (["--set", "interval=never"], "interval"),
        (["-c", "/no/such/file"], "/no/such/file"),
        (["--set", "probes.syscalls.syscall=reed"], "read"),
        (["--set", "prometheus.listen=0.0.0.0:0"], "prometheus.listen"),
    ],
)
def test_a_wrong_configuration_is_one_sentence_with_status_2(arguments: list[str], words: str) -> None:
    process = start("run", *arguments)
    out, err = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with agent(tmp_path) as running:
        running.page()
        address = LISTENS.search(running.said.read_text())
        assert address is not None
        process = start("run", "--set", f"prometheus.listen={address[1]}")
        _, err = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 1
    assert "address already in use" in err.lower()
    assert "Traceback" not in err


def test_without_capabilities_one_sentence_names_them_and_the_status_is_77() -> None:
    run = subprocess.run(
        [
            "setpriv",
            "--inh-caps=-all",
            "--bounding-set=-all",
            sys.executable,
            "-m",
            "sonde",
            "run",
            "--for",
            "1s",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )

    assert (run.returncode, run.stdout) == (77, "")
    assert "CAP_BPF" in run.stderr
    assert run.stderr.count("\n") == 1


def test_the_names_of_processes_break_no_line(tmp_path: Path) -> None:
    """Quotes, newlines, escapes and bytes that are no UTF-8, in the name of a file that is run."""
    name = b'a"b\\c\n\x1b[31m\xff'
    program = os.path.join(os.fsencode(tmp_path), name)
    with open("/bin/true", "rb") as source, open(program, "wb") as copy:
        copy.write(source.read())
    os.chmod(program, 0o755)
    lines = tmp_path / "lines"
    with agent(tmp_path, file__path=str(lines)) as running:
        for _ in range(7):
            subprocess.run([program], check=True)
        page = running.page_where(lambda page: 'a\\"b' in page)
        running.end()

    assert "\x1b" not in page
    for line in page.splitlines():
        assert re.fullmatch(r"#.*|[a-zA-Z_:][\w:]*(\{.*\})? \S+", line), line
    for line in lines.read_text().splitlines():
        json.loads(line)
    assert "\x1b" not in lines.read_text()


def test_nothing_is_left_alive(tmp_path: Path) -> None:
    with agent(tmp_path) as running:
        pids = [running.process.pid, running.loader_pid]
        running.end(signal.SIGINT)

    assert not any(map(is_alive, pids))
