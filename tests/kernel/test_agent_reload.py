"""``sonde run`` reads its configuration again: what goes on, what begins anew, and what cannot be."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certificates import Certificate, authority, signed, trusting
from kernel.running_agent import CALLS, GETPPID, Agent, agent, counts, getppids, page_with
from kernel.sonde_process import PATIENCE_S, Child, child

pytestmark = [pytest.mark.kernel, pytest.mark.host_only]


def counting(made: Child) -> str:
    """A configuration that counts this child's calls, by pid."""
    return (
        f'[probes.processes]\nenabled = false\n[series]\nby = ["pid"]\n[probes.syscalls]\npid = {made.pid}\n'
    )


@contextmanager
def measured(tmp_path: Path, **settings: str) -> Iterator[tuple[Child, Path, Agent]]:
    """A child whose calls an agent counts, and the file that says so."""
    path = tmp_path / "sonde.toml"
    with child(GETPPID) as made:
        path.write_text(counting(made))
        with agent(tmp_path, "-c", str(path), **settings) as running:
            yield made, path, running


def test_a_reload_keeps_counters_and_takes_what_is_new(tmp_path: Path) -> None:
    with measured(tmp_path) as (made, path, running):
        made.run()
        reload(running, path, f'{counting(made)}syscall = ["getppid"]\n')
        made.run()
        page = page_with(running, 2 * CALLS)
        before = counts(page, "sonde_syscall_count_total", sonde_syscall_name="read")
        made.run()
        page = page_with(running, 3 * CALLS)

    assert getppids(page) == 3 * CALLS
    assert counts(page, "sonde_syscall_count_total", sonde_syscall_name="read") == before


def test_a_reload_of_the_same_probes_has_no_gap(tmp_path: Path) -> None:
    with measured(tmp_path) as (made, _, running):
        for times in range(5):
            running.process.send_signal(signal.SIGHUP)
            made.run()
            running.until(
                lambda: running.said.read_text().count("configuration reloaded") == times + 1  # noqa: B023
            )
        page = page_with(running, 5 * CALLS)

    assert getppids(page) == 5 * CALLS


def test_a_reload_of_a_probes_settings_has_no_gap(tmp_path: Path) -> None:
    """A call that is made between two stores to memory is missed, at most; between two runs it were 100,000.

    Of some reloads: the loader may lose its CPU between the two stores.
    """
    path, calls, reloads, missed = tmp_path / "sonde.toml", 1_000_000, 4, list[int]()
    with child(f"for _ in range({calls}): os.getppid()") as made:
        path.write_text(counting(made))
        with agent(tmp_path, "-c", str(path)) as running:
            for times in range(1, reloads + 1):
                path.write_text(f"{counting(made)}max_entries = {9_000 + times}\n")
                running.process.send_signal(signal.SIGHUP)
                made.run()
                running.until(
                    lambda: running.said.read_text().count("configuration reloaded") == times  # noqa: B023
                )
                missed.append(calls * times - getppids(running.fresh_page()) - sum(missed))
            summary = running.end()

    assert min(missed) >= 0
    assert min(missed) < 100
    account = summary["outputs"]["syscalls.counts"]
    assert account["seen"] == account["aggregated"] + account["filtered"] + sum(account["lost"].values())


def last_counts(path: Path) -> int:
    """The calls of children that a file of JSON lines has, of each start the last."""
    found: dict[tuple[str, str], int] = {}
    for line in path.read_text().splitlines():
        point = json.loads(line)
        if point.get("attributes", {}).get("sonde.syscall.name") == "getppid":
            found[point["start"], json.dumps(point["attributes"])] = point["value"]
    return sum(found.values())


@pytest.mark.parametrize(
    "change",
    [
        ("[probes.syscalls]", "[series]\nmax = 50\n[probes.syscalls]\nmax_entries = 5000"),
        ("[probes.syscalls]", "[probes.syscalls]\nenabled = false"),
    ],
    ids=["series and settings", "switched off"],
)
def test_what_ends_at_a_reload_has_its_last_counts_exported(tmp_path: Path, change: tuple[str, str]) -> None:
    path, lines = tmp_path / "sonde.toml", tmp_path / "lines"
    with child(GETPPID) as made:
        text = f"[probes.processes]\nenabled = false\n[probes.syscalls]\npid = {made.pid}\n"
        path.write_text(text)
        with agent(tmp_path, "-c", str(path), interval="1h", file__path=str(lines)) as running:
            made.run()
            reload(running, path, text.replace(*change))
            running.end()

    assert last_counts(lines) == CALLS


def test_counters_go_on_where_a_probe_was_switched_off_for_a_while(tmp_path: Path) -> None:
    with measured(tmp_path) as (made, path, running):
        made.run()
        page_with(running, CALLS)
        reload(running, path, f"{counting(made)}enabled = false\n")
        made.run()
        reload(running, path, counting(made))
        made.run()
        page = page_with(running, 2 * CALLS)
        account = running.end()["outputs"]["syscalls.counts"]

    assert getppids(page) == 2 * CALLS
    assert account["aggregated"] >= 2 * CALLS
    assert account["seen"] == account["aggregated"] + account["filtered"] + sum(account["lost"].values())


def test_a_probe_that_was_off_while_series_changed_comes_back(tmp_path: Path) -> None:
    """Its totals are of other attributes: they begin anew, and its account goes on."""
    with measured(tmp_path) as (made, path, running):
        made.run()
        page_with(running, CALLS)
        other = counting(made).replace('by = ["pid"]', 'by = ["executable"]')
        reload(running, path, f"{other}enabled = false\n")
        reload(running, path, other)
        made.run()
        page = page_with(running, CALLS)
        account = running.end()["outputs"]["syscalls.counts"]

    assert getppids(page) == CALLS
    assert account["aggregated"] >= 2 * CALLS


def test_without_a_budget_everything_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "sonde.toml"
    with child(GETPPID) as made:
        path.write_text(f"{counting(made)}[budget]\ncpu = '0.01%'\n")
        with agent(tmp_path, "-c", str(path), budget__cpu=None) as running:
            running.until(lambda: "now detached" in running.said.read_text())
            reload(running, path, f"{counting(made)}[budget]\ncpu = 'off'\n")
            assert json.loads(running.page("readyz"))["ok"]
            made.run()
            page = page_with(running, CALLS)

    assert getppids(page) == CALLS


def test_who_reloads_all_the_time_is_still_exported_to(tmp_path: Path) -> None:
    """More often than the interval, which each reload had begin anew."""
    lines = tmp_path / "lines"
    with measured(tmp_path, interval="2s", file__path=str(lines)) as (made, path, running):
        made.run()
        for _ in range(30):
            reload(running, path, counting(made))
            if last_counts(lines) == CALLS:
                break
            time.sleep(0.2)
        assert last_counts(lines) == CALLS


def test_what_the_loader_gave_up_is_said_and_warnings_too(tmp_path: Path) -> None:
    """It kept what the probes of its start take; of what is new it is said that it takes another start."""
    with measured(tmp_path) as (made, path, running):
        packets = "[probes.packets]\ninterfaces = ['sonde-none*']\n[otlp]\ninterval = '750ms'\n"
        told = reload(running, path, f"{counting(made)}{packets}endpoint = 'http://127.0.0.1:1'\n")
        assert "CAP_NET_ADMIN, which the loader gave up at its start: start sonde again" in told
        assert "750ms is no multiple of 500ms" in told
        assert "measures syscalls.counts; " in told


def test_a_reload_takes_another_bound_of_series(tmp_path: Path) -> None:
    path = tmp_path / "sonde.toml"
    with child("import ctypes; [ctypes.CDLL(None).syscall(number) for number in range(600, 700)]") as made:
        path.write_text(counting(made))
        with agent(tmp_path, "-c", str(path)) as running:
            reload(running, path, counting(made).replace("by =", "max = 50\nby ="))
            made.run()
            page = running.page_where(lambda page: counts(page, "sonde_syscall_count_total") > 100)

    assert counts(page, "sonde_syscall_count_total", otel_metric_overflow="true") > 0


def test_a_wrong_configuration_is_told_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "sonde.toml"
    path.write_text("interval = '1s'\n")
    with agent(tmp_path, "-c", str(path)) as running:
        path.write_text("intervall = 7\n")
        running.process.send_signal(signal.SIGHUP)
        running.until(lambda: "the configuration stays as it was" in running.said.read_text())
        assert "interval" in running.said.read_text()
        assert running.page("healthz")


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def reload(running: Agent, path: Path, text: str) -> str:
    """Give it another configuration; what it says about it."""
    before = len(running.said.read_text())
    path.write_text(text)
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: "configuration reloaded" in running.said.read_text()[before:])
    return running.said.read_text()[before:]


def listening(port: int, more: str = "") -> str:
    return f'[probes.processes]\nenabled = false\n[prometheus]\nlisten = "127.0.0.1:{port}"\n{more}'


def answers(port: int, path: str = "healthz") -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=PATIENCE_S) as page:
        return bytes(page.read())


def test_an_exporter_that_cannot_begin_stays_as_it_was_and_is_tried_again(tmp_path: Path) -> None:
    """The port is another program's; once it is free the same file is enough."""
    path, port = tmp_path / "sonde.toml", a_free_port()
    path.write_text(listening(port))
    with agent(tmp_path, "-c", str(path), prometheus__listen=None) as running:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            other = int(taken.getsockname()[1])
            told = reload(running, path, listening(other))
            assert "prometheus stays as it was" in told
            assert f"exports to prometheus (http://127.0.0.1:{port}/metrics)" in told
            assert b"another program listens there" in answers(port)
        told = reload(running, path, listening(other))
        assert f"exports to prometheus (http://127.0.0.1:{other}/metrics)" in told
        assert json.loads(answers(other))["problem"] == ""
        with pytest.raises(urllib.error.URLError):
            answers(port)


def test_an_exporter_may_keep_its_address(tmp_path: Path) -> None:
    """With a token it begins anew where it was; with a token that cannot be read it goes on without."""
    path, port, token = tmp_path / "sonde.toml", a_free_port(), tmp_path / "token"
    path.write_text(listening(port))
    with agent(tmp_path, "-c", str(path), prometheus__listen=None) as running:
        missing = listening(port, f'token_file = "{token}"\n')
        assert "prometheus stays as it was" in reload(running, path, missing)
        assert answers(port, "metrics")
        token.write_text("a-token-of-some-length")
        token.chmod(0o600)
        assert "stays as it was" not in reload(running, path, missing)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            answers(port, "metrics")


def test_what_exporters_have_delivered_goes_on_over_reloads(tmp_path: Path) -> None:
    """A counter does not go back, and what one that ends could not deliver is counted and said."""
    path, nowhere = tmp_path / "sonde.toml", a_free_port()
    text = listening(0, f'[otlp]\nendpoint = "http://127.0.0.1:{nowhere}"\n')
    path.write_text(text)
    with agent(tmp_path, "-c", str(path), prometheus__listen=None) as running:
        otlp = {"sonde_exporter_name": "otlp"}
        failures = running.until(lambda: counts(running.page(), "sonde_exporter_failures_total", **otlp))
        reload(running, path, text.replace("[otlp]", "[otlp]\ntimeout = '3s'"))
        page = running.fresh_page()
        assert counts(page, "sonde_exporter_failures_total", **otlp) >= failures
        dropped = counts(page, "sonde_exporter_points_total", **otlp, sonde_outcome="dropped")
        reload(running, path, listening(0))
        running.until(lambda: "otlp has ended with" in running.said.read_text())
        page = running.fresh_page()
        assert counts(page, "sonde_exporter_points_total", **otlp, sonde_outcome="dropped") > dropped
        assert counts(page, "sonde_exporter_queue_capacity", **otlp) == 0
        summary = running.end()

    assert sum(summary["exporters"]["otlp"]["points_dropped"].values()) >= dropped


def test_a_token_and_a_certificate_that_are_renewed_are_read_again(tmp_path: Path) -> None:
    """What they are called is the same; where one cannot be read, the one before holds."""
    path, port, token = tmp_path / "sonde.toml", a_free_port(), tmp_path / "token"
    ours = authority(tmp_path)
    shown = signed(tmp_path, ours)
    files = f'token_file = "{token}"\ntls_certificate = "{shown.file}"\ntls_key = "{shown.key}"\n'
    path.write_text(listening(port, files))
    token.write_text("first")

    def page(word: str) -> bytes:
        asked = urllib.request.Request(
            f"https://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {word}"}
        )
        with urllib.request.urlopen(asked, context=trusting(ours), timeout=PATIENCE_S) as answer:
            return bytes(answer.read())

    with agent(tmp_path, "-c", str(path), prometheus__listen=None) as running:
        assert page("first")
        token.unlink()
        assert "goes on with what it has" in reload(running, path, listening(port, files))
        assert page("first")
        token.write_text("second")
        another = signed(tmp_path, authority(tmp_path, "another"), "renewed")
        shown.file.write_bytes(another.file.read_bytes())
        shown.key.write_bytes(another.key.read_bytes())
        assert "error" not in reload(running, path, listening(port, files))
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            page("second")
        ours = Certificate(tmp_path / "another.crt", tmp_path / "another.key")
        assert page("second")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            page("first")
