"""``sonde run`` as a process: what it measures, exports and says, over reloads, signals and faults."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kernel.sonde_process import PATIENCE_S, Child, child, is_alive, start, wait_until_gone
from sonde.agent.board import FRESH_S

# The same on every kernel: the loader's and the probes' tests run there.
pytestmark = [pytest.mark.kernel, pytest.mark.host_only]

CALLS = 10_007
GETPPID = f"for _ in range({CALLS}): os.getppid()"
LISTENS = re.compile(r"http://(127\.0\.0\.1:\d+)")


class Agent:
    """A running ``sonde run``; what it says on standard error is kept in a file."""

    def __init__(self, process: subprocess.Popen[str], said: Path) -> None:
        self.process, self.said = process, said

    @property
    def loader_pid(self) -> int:
        """The other process."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        (pid,) = map(int, path.read_text().split())
        return pid

    def page(self, path: str = "metrics") -> str:
        """Scrape it."""
        address = self.until(lambda: LISTENS.search(self.said.read_text()))
        with urllib.request.urlopen(f"http://{address[1]}/{path}", timeout=60) as answer:
            text: str = answer.read().decode()
            return text

    def fresh_page(self) -> str:
        """Scrape what is read after this: a page may be as old as the shortest time between two readings."""
        time.sleep(2 * FRESH_S)
        return self.page()

    def page_where(self, found: Callable[[str], bool]) -> str:
        """Scrape until something is on the page: on a busy machine one may be older than it looks."""

        def page() -> str:
            text = self.fresh_page()
            return text if found(text) else ""

        return str(self.until(page))

    def until(self, found: Callable[[], Any]) -> Any:
        """Wait for something to be found."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := found()):
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < deadline, self.said.read_text()
            time.sleep(0.1)
        return value

    def end(self, number: int = signal.SIGTERM) -> dict[str, Any]:
        """Ask it to end; gives its summary."""
        self.process.send_signal(number)
        return self.summary()

    def summary(self) -> dict[str, Any]:
        """Wait for the end, and read the summary."""
        out, _ = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, self.said.read_text()
        found: dict[str, Any] = json.loads(out)["summary"]
        return found


@contextmanager
def agent(folder: Path, *arguments: str, **settings: str) -> Iterator[Agent]:
    """Start one that measures what it is told, by dotted keys with ``__`` for the dot, and wait until it counts."""
    given = {"prometheus.listen": "127.0.0.1:0", "interval": "500ms", "budget.cpu": "off"}
    # Where another user can read the packages the agent would be that user, who cannot write into the test's folder.
    given["process.user"] = "root"
    given |= {name.replace("__", "."): value for name, value in settings.items()}
    words = [word for name, value in given.items() for word in ("--set", f"{name}={value}")]
    ready, told = os.pipe()
    said = folder / "said"
    with said.open("w") as file:
        process = start(
            "run",
            "--format",
            "json",
            "--ready-fd",
            str(told),
            *words,
            *arguments,
            pass_fds=(told,),
            stderr=file,
        )
    os.close(told)
    try:
        assert select.select([ready], [], [], PATIENCE_S)[0], said.read_text()
        assert os.read(ready, 1), said.read_text()
        yield Agent(process, said)
    finally:
        os.close(ready)
        if process.poll() is None:
            process.kill()
        process.communicate()


def only(made: Child) -> dict[str, str]:
    """Measure only this child, by pid."""
    return {
        "probes__processes__enabled": "false",
        "probes__syscalls__pid": str(made.pid),
        "series__by": "pid",
    }


def counts(text: str, name: str, **labels: str) -> int:
    """Add up a counter's series that have these labels."""
    found = 0
    for line in text.splitlines():
        match = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
        if match and all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items()):
            found += int(float(match[2]))
    return found


def getppids(page: str, **labels: str) -> int:
    """How many calls of the children a page tells of."""
    return counts(page, "sonde_syscall_count_total", sonde_syscall_name="getppid", **labels)


def page_with(running: Agent, calls: int) -> str:
    """A page that was read when so many calls of the children had been made."""
    return running.page_where(lambda page: getppids(page) >= calls)


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


def test_a_reload_keeps_counters_and_takes_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "sonde.toml"
    with child(GETPPID) as made:
        section = f'[probes.processes]\nenabled = false\n[series]\nby = ["pid"]\n[probes.syscalls]\npid = {made.pid}\n'
        path.write_text(section)
        with agent(tmp_path, "-c", str(path)) as running:
            made.run()
            path.write_text(f'{section}syscall = ["getppid"]\n')
            running.process.send_signal(signal.SIGHUP)
            running.until(lambda: "configuration reloaded" in running.said.read_text())
            made.run()
            page = page_with(running, 2 * CALLS)
            before = counts(page, "sonde_syscall_count_total", sonde_syscall_name="read")
            made.run()
            page = page_with(running, 3 * CALLS)

    assert getppids(page) == 3 * CALLS
    assert counts(page, "sonde_syscall_count_total", sonde_syscall_name="read") == before


def test_a_reload_of_the_same_probes_has_no_gap(tmp_path: Path) -> None:
    path = tmp_path / "sonde.toml"
    with child(GETPPID) as made:
        section = f'[probes.processes]\nenabled = false\n[series]\nby = ["pid"]\n[probes.syscalls]\npid = {made.pid}\n'
        path.write_text(section)
        with agent(tmp_path, "-c", str(path)) as running:
            for times in range(5):
                running.process.send_signal(signal.SIGHUP)
                made.run()
                running.until(
                    lambda: running.said.read_text().count("configuration reloaded") == times + 1  # noqa: B023
                )
            page = page_with(running, 5 * CALLS)

    assert getppids(page) == 5 * CALLS


def test_a_wrong_configuration_is_told_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "sonde.toml"
    path.write_text("interval = '1s'\n")
    with agent(tmp_path, "-c", str(path)) as running:
        path.write_text("intervall = 7\n")
        running.process.send_signal(signal.SIGHUP)
        running.until(lambda: "the configuration stays as it was" in running.said.read_text())
        assert "interval" in running.said.read_text()
        assert running.page("healthz")


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
