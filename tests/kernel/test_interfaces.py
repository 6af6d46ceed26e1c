"""Probes on interfaces: attached to each that is chosen, following those that come, go and are renamed."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kernel.hook_objects import HOOKS, Require, load
from kernel.network import Pair, frame, joined, pair
from sonde.bpf import features
from sonde.bpf.hooks import Xdp
from sonde.bpf.link.interface import interfaces
from sonde.errors import AttachError, KnobError
from sonde.probe import Probe, Selection
from sonde.probes import probe
from sonde.run import Run

LOCAL = 0x88B5  # an EtherType for experiments: nobody else's packets are counted with ours
PATIENCE_S = 60


@pytest.fixture
def ends(require_feature: Require) -> Iterator[Pair]:
    """The calling thread is in the namespace of the near end."""
    require_feature("xdp")
    with pair() as made, made.near.entered():
        yield made


def tc() -> str:
    return "tc (tcx)" if features.have("tcx").value else "tc (clsact)"


def running(*, hook: str | None = None, **selection: tuple[str | int, ...]) -> Run:
    return Run(probe("packets"), "protocols", selection=Selection(**selection), values={"hook": hook})  # type: ignore[arg-type]


def placed(run: Run) -> dict[str, tuple[str, str]]:
    """How it is attached, by interface."""
    assert run.interfaces is not None
    return {each["interface"]: (each["ingress"], each["egress"]) for each in run.interfaces.describe()}


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it has not become so"
        time.sleep(0.01)


def counted(run: Run) -> dict[tuple[str, str], int]:
    """Packets of ours by interface and direction; nothing is counted that is in no row."""
    batch = run.read()
    assert batch.accounting.balanced or not batch.accounting.final
    found: dict[tuple[str, str], int] = {}
    for row in batch.rows(("interface", "direction", "protocol", "packets")):
        if row["packets"]:
            key = (row["interface"], row["direction"])
            found[key] = found.get(key, 0) + row["packets"]
    return found


def send(ends: Pair, count: int, *, inwards: bool = True) -> None:
    sender, receiver = (ends.far, ends.near) if inwards else (ends.near, ends.far)
    ends.send(frame(sender, receiver, LOCAL, b"sonde"), count=count, sender=sender)


# ---- which, and how ------------------------------------------------------------------------------------------


def test_each_way_of_each_interface_is_counted_exactly(ends: Pair) -> None:
    other = joined(ends, "other0", "other1")
    with running() as run:
        assert {"sonde0": ("xdp native", tc()), "other0": ("xdp native", tc())} == placed(run)
        send(ends, 101)
        send(ends, 53, inwards=False)
        send(other, 31)
        run.stop()
        send(ends, 7)
        expected = {("sonde0", "ingress"): 101, ("sonde0", "egress"): 53, ("other0", "ingress"): 31}
        assert expected == counted(run)
        assert run.read().accounting.seen == 101 + 53 + 31


def test_those_that_are_not_chosen_are_left_alone(ends: Pair) -> None:
    other = joined(ends, "other0", "other1")
    for selection in (
        {"interfaces": ("sonde*",)},
        {"exclude_interfaces": ("other0",)},
        {"interfaces": (ends.near.index,)},
    ):
        with running(**selection) as run:
            assert ["sonde0"] == list(placed(run))
            assert "xdp" not in ends.near.run("ip", "link", "show", "dev", "other0")
            send(other, 17)
            send(ends, 13)
            assert {("sonde0", "ingress"): 13} == counted(run)


def test_tc_is_used_for_both_ways_where_it_is_asked_for(ends: Pair) -> None:
    with running(hook="tc") as run:
        assert {"sonde0": (tc(), tc())} == placed(run)
        assert "packets_xdp" not in run.loaded.programs
        assert "xdp" not in ends.near.run("ip", "link", "show", "dev", "sonde0")
        send(ends, 19)
        assert {("sonde0", "ingress"): 19} == counted(run)


def test_a_driver_without_xdp_gets_it_from_the_kernel(ends: Pair) -> None:
    with running(interfaces=("lo",)) as run:
        assert {"lo": ("xdp generic", tc())} == placed(run)
        assert ends.near.ping("127.0.0.1", 3) == 3
        assert {("lo", "ingress"): 6, ("lo", "egress"): 6} == counted(run)


def test_where_another_xdp_program_is_tc_takes_its_place_and_that_is_said(ends: Pair) -> None:
    with load(HOOKS, "at_xdp") as loaded:
        occupant = loaded.programs["at_xdp"]
        link = occupant.attach(Xdp("sonde0"))
        with running() as run:
            assert {"sonde0": (tc(), tc())} == placed(run)
            assert run.interfaces is not None
            (told,) = run.interfaces.describe()
            assert told["note"].startswith("not by xdp: another XDP program is attached there, number ")
            send(ends, 23)
            assert {("sonde0", "ingress"): 23} == counted(run)
        assert f"prog/xdp id {occupant.id}" in ends.near.run("ip", "link", "show", "dev", "sonde0")
        link.close()


def by_xdp_alone() -> Probe:
    """The probe without what could take the place of XDP, or see packets without Ethernet headers."""
    table = probe("packets").tables[0]
    programs = tuple(name for name in table.programs if name.endswith("_xdp"))
    return replace(probe("packets"), tables=(replace(table, programs=programs, counting=programs),))


def test_one_of_many_that_takes_no_program_does_not_stop_the_rest(ends: Pair) -> None:
    other = joined(ends, "other0", "other1")
    with load(HOOKS, "at_xdp") as loaded, loaded.programs["at_xdp"].attach(Xdp("sonde0")):
        with Run(by_xdp_alone()) as run:
            assert {"sonde0": ("", ""), "other0": ("xdp native", "")} == placed(run)
            assert run.interfaces is not None
            told = {each["interface"]: each["note"] for each in run.interfaces.describe()}
            assert told["sonde0"].startswith("another XDP program is attached there")
            send(other, 71)
            send(ends, 3)
            assert {("other0", "ingress"): 71} == counted(run)
        for interfaces in (("sonde0",), ("sonde0", "other0")):
            with pytest.raises(
                AttachError, match="attach to interface sonde0: another XDP program is attached"
            ):
                Run(by_xdp_alone(), selection=Selection(interfaces=interfaces)).start()
        assert "xdp" not in ends.near.run("ip", "link", "show", "dev", "other0")


def test_packets_without_ethernet_headers_are_for_programs_that_know_them(ends: Pair) -> None:
    if not Path("/dev/net/tun").exists():
        pytest.skip("there is no /dev/net/tun, so no CONFIG_TUN")
    ends.near.ip("tuntap add mode tun name bare0")
    with running() as run:
        assert {"sonde0": ("xdp native", tc()), "bare0": (tc(), tc())} == placed(run)
    with Run(by_xdp_alone()) as run:
        assert {"sonde0": ("xdp native", ""), "bare0": ("", "")} == placed(run)
        assert run.interfaces is not None
        told = {each["interface"]: each["note"] for each in run.interfaces.describe()}
        assert told["bare0"] == "its packets have no Ethernet header, which the probe needs"


# ---- following -----------------------------------------------------------------------------------------------


def test_an_interface_that_comes_is_counted_and_keeps_its_rows_when_it_goes(ends: Pair) -> None:
    with running() as run:
        send(ends, 11)
        late = joined(ends, "late0", "late1")
        until(lambda: placed(run).get("late0") == ("xdp native", tc()))
        send(late, 41)
        send(late, 29, inwards=False)
        ends.near.ip("link del dev late0")
        until(lambda: "late0" not in placed(run))
        run.stop()
        expected = {("sonde0", "ingress"): 11, ("late0", "ingress"): 41, ("late0", "egress"): 29}
        assert expected == counted(run)
        assert run.read().accounting.seen == 11 + 41 + 29


def test_a_renamed_interface_goes_on_under_its_new_name(ends: Pair) -> None:
    other = joined(ends, "old0", "old1")
    with running() as run:
        send(other, 37)
        # Before Linux 6.2 an interface that is up cannot be renamed.
        ends.near.ip("link set dev old0 down", "link set dev old0 name new0", "link set dev new0 up")
        until(lambda: "new0" in placed(run) and "old0" not in placed(run))
        assert {("new0", "ingress"): 37} == counted(run)


def test_a_pattern_takes_what_matches_it_now(ends: Pair) -> None:
    with running(interfaces=("late*",)) as run:
        assert run.interfaces is not None
        assert ({}, ("late*",)) == (placed(run), run.interfaces.waits_for())
        late = joined(ends, "late0", "late1")
        until(lambda: list(placed(run)) == ["late0"])
        send(late, 43)
        ends.near.ip("link set dev late0 down", "link set dev late0 name gone0", "link set dev gone0 up")
        until(lambda: not placed(run))
        assert "xdp" not in ends.near.run("ip", "link", "show", "dev", "gone0")
        assert {("late0", "ingress"): 43} == counted(run)


def test_one_that_was_named_stays_chosen_whatever_it_is_called(ends: Pair) -> None:
    other = joined(ends, "old0", "old1")
    with running(interfaces=("old0",)) as run:
        ends.near.ip("link set dev old0 down", "link set dev old0 name new0", "link set dev new0 up")
        until(lambda: list(placed(run)) == ["new0"])
        until(lambda: "UP" in ends.near.run("ip", "-br", "link", "show", "dev", "new0"))
        ends.far.ip("link del dev old1")
        until(lambda: not placed(run))
        # Its name comes again, with another interface.
        other = joined(ends, "old0", "old1")
        until(lambda: list(placed(run)) == ["old0"])
        send(other, 47)
        assert {("old0", "ingress"): 47} == counted(run)


def test_a_number_that_is_used_again_is_attached_again(ends: Pair) -> None:
    """Deleted and made anew in one moment, with the same name and number: for whoever looks later nothing has changed."""
    ends.near.ip("link add name same0 index 4711 type veth peer name same1")
    with running() as run:
        until(lambda: placed(run).get("same0") is not None)
        ends.near.ip("link del dev same0", "link add name same0 index 4711 type veth peer name same1")
        until(lambda: "xdp" in ends.near.run("ip", "link", "show", "dev", "same0"))
        assert placed(run)["same0"] == ("xdp native", tc())


def test_one_that_moves_to_another_namespace_is_let_go(ends: Pair) -> None:
    other = joined(ends, "other0", "other1")
    with running() as run:
        send(other, 79)
        ends.near.ip(f"link set dev other0 netns {ends.far.path}")
        until(lambda: "other0" not in placed(run))
        assert "xdp" not in ends.far.run("ip", "link", "show", "dev", "other0")
        assert {("other0", "ingress"): 79} == counted(run)


def test_other_interfaces_are_chosen_while_it_counts(ends: Pair) -> None:
    other = joined(ends, "other0", "other1")
    with running(interfaces=("sonde0",)) as run:
        send(ends, 59)
        before = ends.near.run("ip", "link", "show", "dev", "sonde0")
        run.select(Selection(interfaces=("sonde0", "other0")))
        assert {"sonde0", "other0"} == set(placed(run))
        assert before == ends.near.run("ip", "link", "show", "dev", "sonde0"), "it was not touched"
        send(other, 61)
        run.select(Selection(interfaces=("other0",)))
        send(ends, 5)
        assert {("sonde0", "ingress"): 59, ("other0", "ingress"): 61} == counted(run)
        with pytest.raises(AttachError, match="did you mean other0"):
            run.select(Selection(interfaces=("other",)))
        assert ["other0"] == list(placed(run))


def test_a_storm_of_interfaces_ends_with_what_is_there(ends: Pair) -> None:
    rounds = 13
    with running(exclude_interfaces=("peer*",)) as run:
        for at in range(rounds):
            ends.near.ip(
                *(f"link add name storm{at}n{n} type veth peer name peer{at}n{n}" for n in range(3)),
                *(f"link del dev storm{at}n{n}" for n in range(2)),
            )
        expected = {"sonde0", *(f"storm{at}n2" for at in range(rounds))}
        until(lambda: set(placed(run)) == expected)
        assert all(how == ("xdp native", tc()) for how in placed(run).values())
        send(ends, 67)
        assert 67 == counted(run)["sonde0", "ingress"]
        run.stop()
        shown = ends.near.run("ip", "link", "show")
        assert "xdp" not in shown


# ---- what cannot be -------------------------------------------------------------------------------------------


def test_a_name_that_is_not_there_is_refused_and_nothing_is_attached(ends: Pair) -> None:
    run = running(interfaces=("sonde0", "sonde7"))
    with pytest.raises(AttachError, match=r"no network interface sonde7 .*did you mean sonde0"):
        run.start()
    assert "xdp" not in ends.near.run("ip", "link", "show", "dev", "sonde0")


def test_processes_and_interfaces_are_not_selected_for_probes_that_cannot() -> None:
    with pytest.raises(KnobError, match="of whichever process: select interfaces"):
        Run(probe("packets"), selection=Selection(pid=1))
    with pytest.raises(KnobError, match="it is on no interface"):
        Run(probe("syscalls"), selection=Selection(interfaces=("lo",)))
    with pytest.raises(KnobError, match="3 is no selection: give a"):
        Run(probe("syscalls"), selection=3)  # type: ignore[arg-type]
    with Run(probe("syscalls"), "counts") as run, pytest.raises(KnobError, match="it is on no interface"):
        run.select(Selection(interfaces=("lo",)))


# ---- however it ends -------------------------------------------------------------------------------------------


def test_nothing_is_attached_after_kill_9(ends: Pair) -> None:
    other = joined(ends, "other0", "other1")
    sonde = subprocess.Popen(
        [sys.executable, "-m", "sonde", "top", "packets", "--ready-fd", "1", "--output", "/dev/null"],
        stdout=subprocess.PIPE,
    )
    assert sonde.stdout is not None
    assert sonde.stdout.read(1)
    for each in (ends, other):
        assert "xdp" in each.near.run("ip", "link", "show", "dev", each.near.interface)
    sonde.kill()
    sonde.wait()
    sonde.stdout.close()
    # The kernel lets go of links when the process's descriptors are closed; a guardian of filters when it sees that.
    until(lambda: "xdp" not in ends.near.run("ip", "link", "show"))
    until(lambda: "clsact" not in ends.near.run("tc", "qdisc", "show"))
    with running(hook="tc") as run:
        assert {"sonde0": (tc(), tc()), "other0": (tc(), tc())} == placed(run)


def test_a_run_that_was_forgotten_is_closed(ends: Pair) -> None:
    run: Run | None = running()
    assert run is not None
    run.start()
    assert "xdp" in ends.near.run("ip", "link", "show", "dev", "sonde0")
    before = len(threading.enumerate())
    run = None
    gc.collect()
    until(lambda: gc.collect() >= 0 and "xdp" not in ends.near.run("ip", "link", "show", "dev", "sonde0"))
    until(lambda: len(threading.enumerate()) < before)


def test_the_list_is_of_the_threads_own_namespace(ends: Pair) -> None:
    here = {each.name: each for each in interfaces()}
    assert {"lo", "sonde0"} <= set(here)
    assert "eth0" not in here
    assert here["lo"].is_loopback
    assert not here["sonde0"].is_loopback
    assert here["sonde0"].has_ethernet
    assert here["sonde0"].index == ends.near.index
