"""``sonde doctor`` and ``sonde list``: what is told of this machine is what was tried on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel.evidence import FEATURES, absent
from kernel.places import Network
from kernel.sonde_process import PATIENCE_S, SONDE, Output, output_of, sonde, wait_until_gone
from sonde.probes import all_probes

WITHOUT_CAPABILITIES = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
GUARDIAN = "sonde-guardian"


def denied(*arguments: str) -> Output:
    """Run sonde as root by number, without capabilities."""
    return output_of(
        subprocess.Popen(
            [*WITHOUT_CAPABILITIES, *SONDE, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )


def test_sonde_works_here() -> None:
    output = sonde("doctor")

    assert output.status == 0
    assert output.out.splitlines()[-1] == "✓ sonde works here"


@pytest.mark.host_only
def test_every_check_is_an_object_and_what_is_not_fine_has_its_fix() -> None:
    output = sonde("doctor", "--json")

    assert output.status == 0
    assert all({"group", "check", "ok", "found", "fix", "needed"} == set(check) for check in output.lines)
    assert all(check["fix"] for check in output.lines if check["ok"] is False)
    assert {"CAP_BPF, CAP_PERFMON", "BTF", "JIT", "memlock", "lockdown", "perf_event_paranoid", "tracefs", "bpffs",
            "unprivileged_bpf_disabled"} <= {check["check"] for check in output.lines}  # fmt: skip


def test_what_is_told_of_a_hook_agrees_with_the_evidence() -> None:
    told = {check["check"]: check["ok"] for check in sonde("doctor", "--json").lines}

    for name in set(FEATURES) & set(told):
        assert told[name] == (absent(name) is None), name


@pytest.mark.host_only
def test_every_output_of_every_probe_was_run() -> None:
    told = {check["check"]: check for check in sonde("doctor", "--json").lines if check["group"] == "Probes"}

    assert set(told) == {
        f"{name}.{output.name}" for name, found in all_probes().items() for output in found.outputs
    }
    assert all("128 CPUs" in check["found"] for check in told.values())


@pytest.mark.host_only
def test_without_capabilities_it_says_which_and_fails() -> None:
    output = denied("doctor", "--json")
    told = {check["check"]: check for check in output.lines}

    assert output.status == 1
    assert told["CAP_BPF, CAP_PERFMON"]["ok"] is False
    assert "AmbientCapabilities=CAP_BPF CAP_PERFMON" in told["CAP_BPF, CAP_PERFMON"]["fix"]
    assert told["tp_btf"]["ok"] is None
    assert told["BTF"]["ok"] is True


def test_the_list_says_what_runs_here_and_how() -> None:
    output = sonde("list", "--json")

    assert output.status == 0
    for line in output.lines:
        found = all_probes()[line["probe"]]
        assert [each["name"] for each in line["outputs"]] == [each.name for each in found.outputs]
        assert all(each["runs"] is True for each in line["outputs"])
        assert all(each["hooks"] and each["map_memory_bytes"] > 0 for each in line["outputs"])
        assert [knob["flag"] for knob in line["knobs"]] == [knob.flag for knob in found.knobs]


@pytest.mark.host_only
def test_the_list_is_there_without_capabilities_and_says_that_it_could_not_try() -> None:
    output = denied("list", "--json")

    assert output.status == 0
    assert all(
        each["runs"] is None and "CAP_BPF" in each["reason"]
        for line in output.lines
        for each in line["outputs"]
    )


@pytest.mark.host_only
def test_the_list_for_people_names_outputs_and_knobs() -> None:
    text = sonde("list").out

    for name, found in all_probes().items():
        assert f"{name}  {found.summary}" in text
        assert all(f" {output.name}" in text for output in found.outputs)
        assert all(knob.flag in text for knob in found.knobs)


# ---- leftovers -------------------------------------------------------------------------------------------------

ATTACH = """
import sys, time
from sonde.bpf import ObjectSpec
from sonde.bpf.hooks import Tc
with ObjectSpec.open(sys.argv[1]) as spec:
    for name, program in spec.programs.items():
        program.autoload = name == sys.argv[2]
    with spec.load() as loaded:
        loaded.programs[sys.argv[2]].attach(Tc(sys.argv[3], "ingress", mechanism="clsact"))
        print("attached", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def holder(network: Network) -> Iterator[subprocess.Popen[str]]:
    """A process that has attached a program to clsact in a network of its own."""
    from kernel.plain import shape

    process = subprocess.Popen(
        [sys.executable, "-c", ATTACH, str(shape("hashes")), "count_all", network.interface],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "attached\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def guardian_of(pid: int) -> int:
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"Name:\t{GUARDIAN}" in text and f"PPid:\t{pid}\n" in text:
            return int(status.parent.name)
    raise AssertionError("there is no guardian")


def told_of_filters() -> dict[str, object]:
    (told,) = [check for check in sonde("doctor", "--json").lines if check["check"] == "clsact filters"]
    return told


@pytest.mark.host_only
def test_a_filter_in_use_is_no_leftover(holder: subprocess.Popen[str]) -> None:
    assert told_of_filters()["ok"] is True
    assert sonde("doctor", "--clean").out == "there was nothing to remove\n"
    assert holder.poll() is None


@pytest.mark.host_only
def test_what_a_killed_sonde_left_is_found_and_removed(
    holder: subprocess.Popen[str], network: Network
) -> None:
    """The guardian has to be killed first: alone it would have cleaned up."""
    guardian = guardian_of(holder.pid)
    os.kill(guardian, signal.SIGKILL)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert wait_until_gone([guardian, holder.pid])
    told = told_of_filters()

    assert told["ok"] is False, told
    assert told["fix"] == "sonde doctor --clean"
    assert f"{network.interface} ingress" in str(told["found"])
    removed = sonde("doctor", "--clean")
    assert removed.status == 0
    assert removed.out.startswith("removed the TC filter of program ")
    assert told_of_filters()["ok"] is True


@pytest.mark.host_only
def test_a_dead_sonde_with_a_living_guardian_leaves_nothing(holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    deadline = time.monotonic() + PATIENCE_S
    while not told_of_filters()["ok"] and time.monotonic() < deadline:
        time.sleep(0.2)

    assert told_of_filters()["ok"] is True
