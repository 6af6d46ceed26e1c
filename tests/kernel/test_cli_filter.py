"""``sonde filter`` as a person runs it: a list of ten thousand networks, what is shown, the end, and what is wrong."""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import subprocess
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from kernel import leftovers
from kernel.filter_process import ended, environment, filtering, frame, rule, write
from kernel.network import Pair, namespace
from kernel.sonde_process import PATIENCE_S, SONDE, balanced, output_of, sonde

CIDRS = 10_007


def attached(net: Pair) -> int | None:
    """The number of the XDP program at the far end, as iproute2 tells it."""
    (link,) = json.loads(net.far.run("ip", "-j", "-d", "link", "show", "dev", net.far.interface))
    found = link.get("xdp", {}).get("prog", {}).get("id")
    return None if found is None else int(found)


def test_ten_thousand_networks_stop_exactly_what_is_in_them(net: Pair, tmp_path: Path) -> None:
    """One packet from within each network, and as many from outside: the first ones are gone, the others are there."""
    chosen = random.Random(2053)
    blocks = chosen.sample(range(1 << 20), CIDRS * 2)
    networks = [
        ip_network((0x40000000 + (number << 8), chosen.choice((24, 25, 28, 32)))) for number in blocks[:CIDRS]
    ]
    (tmp_path / "blocked.txt").write_text("\n".join(map(str, networks)) + "\n")
    write(tmp_path / "rules.toml", '[[rule]]\naction = "drop"\nsrc_file = "blocked.txt"\n')
    inside = [frame(net, network[chosen.randrange(network.num_addresses)]) for network in networks]
    outside = [frame(net, IPv4Address(0x40000000 + (number << 8))) for number in blocks[CIDRS:]]
    flood = [each for pair in zip(inside, outside, strict=True) for each in pair]
    before = net.far.nstat()["IpInReceives"]
    with filtering(net, "--rules", str(tmp_path / "rules.toml"), "--format", "json") as process:
        net.send(*flood)
        output = ended(process)
    assert output.status == 0
    assert [(row["rule"], row["packets"], row["dropped"]) for row in output.final] == [
        (1, CIDRS, CIDRS),
        (None, CIDRS, 0),
    ]
    assert net.far.nstat()["IpInReceives"] - before == CIDRS
    assert balanced(output.accounting)
    assert output.accounting["passed"] == output.accounting["dropped"] == CIDRS


def test_a_table_says_what_was_dropped_and_how_it_is_attached(net: Pair) -> None:
    with filtering(
        net, "--allow", "src 10.1.0.0/16", "--drop", "src 10.0.0.0/8 and udp dst port 53"
    ) as process:
        net.send(frame(net, "10.1.0.1"), frame(net, "10.2.0.1"), frame(net, "192.0.2.1"), count=7)
        output = ended(process)
    lines = output.out.rstrip().split("\n\n")[-1].splitlines()
    assert lines[0].endswith("sonde filter sonde1 XDP native, 2 rules")
    assert [line.split() for line in lines[1:5]] == [
        ["RULE", "ACTION", "MATCH", "PACKETS", "BYTES", "DROPPED"],
        ["1", "allow", "src", "10.1.0.0/16", "7", "329", "0"],
        ["2", "drop", "src", "10.0.0.0/8", "and", "udp", "and", "dst", "port", "53", "7", "329", "7"],
        ["-", "pass", "(no", "rule)", "7", "329", "0"],
    ]
    assert lines[5] == "seen 21 = aggregated 21 + lost 0; passed 14; dropped 7"


def test_rules_keep_the_order_in_which_they_were_typed(net: Pair) -> None:
    """An allow between two drops stands where it was written."""
    arguments = ("--drop", "src 10.0.0.1", "--allow", "src 10.0.0.0/30", "--drop", "src 10.0.0.0/24")
    with filtering(net, *arguments, "--rate-limit", "1/h burst 2", "udp", "--format", "json") as process:
        net.send(*(frame(net, f"10.0.{n}") for n in ("0.1", "0.2", "0.77", "1.1")), count=5)
        output = ended(process)
    assert [(row["action"], row["dropped"]) for row in output.final] == [
        ("drop", 5), ("allow", 0), ("drop", 5), ("rate-limit 1/h burst 2", 3), ("pass", 0)
    ]  # fmt: skip


def test_a_dry_run_passes_everything(net: Pair) -> None:
    before = net.far.nstat()["IpInReceives"]
    with filtering(net, "--drop", "udp", "--dry-run", "--format", "json") as process:
        net.send(frame(net, "10.0.0.1"), count=13)
        output = ended(process)
    assert [(row["packets"], row["would_drop"]) for row in output.final if row["match"] == "udp"] == [
        (13, 13)
    ]
    assert not any("dropped" in row for row in output.final)
    assert net.far.nstat()["IpInReceives"] - before == 13
    assert (output.accounting["passed"], output.accounting["would_drop"]) == (13, 13)
    assert balanced(output.accounting)


def test_it_ends_by_itself_and_leaves_nothing(net: Pair) -> None:
    with filtering(net, "--drop", "tcp", "--for", "300ms", "--every", "100ms", "--format", "csv") as process:
        program = attached(net)
        output = output_of(process)
    assert output.status == 0
    assert (
        output.out.splitlines()[0]
        == "time,interface,rule,name,action,match,packets,bytes,dropped,dropped_bytes"
    )
    assert output.err.splitlines()[0] == "sonde: sonde1: XDP native, 1 rule"
    assert output.err.splitlines()[-1].startswith("seen 0 = lost 0")
    assert attached(net) is None
    # A machine that stood still did not look before it had ended.
    if program is not None:
        leftovers.wait_until_gone("prog", program)


def test_a_killed_filter_leaves_nothing_attached(net: Pair) -> None:
    before = net.far.nstat()["IpInReceives"]
    with filtering(net, "--drop", "udp") as process:
        program = attached(net)
        assert program is not None
        process.kill()
        process.wait()
    leftovers.wait_until_gone("prog", program)
    assert attached(net) is None
    net.send(frame(net, "10.0.0.1"), count=3)
    assert net.far.nstat()["IpInReceives"] - before == 3


def test_rules_that_hold_for_no_packet_are_told(net: Pair) -> None:
    rules = ("--drop", "src 10.0.0.0/8 and src 192.0.2.7", "--drop", "udp")
    with net.far.entered():
        output = sonde("filter", net.far.interface, *rules, "--for", "50ms", env=environment())
    assert output.status == 0
    assert output.err.startswith(
        "sonde: rule 1 (drop: src 10.0.0.0/8 and src 192.0.2.7) can hold for no packet\nsonde: sonde1: XDP"
    )


def test_generic_xdp_is_named(net: Pair) -> None:
    with filtering(net, "--drop", "udp", "--mode", "generic", "--for", "100ms") as process:
        assert "sonde1: XDP generic, 1 rule" in output_of(process).err


def test_it_ends_when_its_interface_goes(net: Pair) -> None:
    with filtering(net, "--drop", "udp", "--every", "50ms", "--format", "csv") as process:
        net.near.ip(f"link del {net.near.interface}")
        output = output_of(process)
    assert output.status == 1
    assert output.err.endswith("sonde: filter sonde1: the interface has gone\n")


def test_a_terminal_that_goes_away_ends_it_though_a_hangup_reads_the_file_again(
    net: Pair, tmp_path: Path
) -> None:
    """The kernel says SIGHUP for both."""
    path = tmp_path / "rules.toml"
    write(path, rule(7))
    command = [*SONDE, "filter", net.far.interface, "--rules", str(path), "-o", str(tmp_path / "out")]
    with net.far.entered():
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(command[0], command, environment())
    try:
        said_so_far = b""
        while b"XDP native" not in said_so_far:
            said_so_far += os.read(terminal, 4096)
        os.kill(pid, signal.SIGHUP)
        while b"replaced" not in said_so_far:
            said_so_far += os.read(terminal, 4096)
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) != -signal.SIGHUP
    assert attached(net) is None
    assert "seen 0" in (tmp_path / "out").read_text()


# ---- what is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.host_only
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "sonde filter: there are no rules: give --rules FILE, or --drop CONDITION"),
        (("--drop", "src 10.0.0.0/8 and tpc"), "sonde filter: --drop: character 20: 'tpc': no condition begins like this: did you mean tcp?"),
        (("--rate-limit", "fast", "udp"), "sonde filter: --rate-limit: 'fast' is no rate: give '100/s', '1MB/s' or '100/s burst 200'"),
        (("--rules", "x", "--drop", "tcp"), "sonde filter: --rules and rules on the command line exclude each other: write them into the file"),
        (("--rules", "/nowhere/x.toml"), "sonde: /nowhere/x.toml: no such file or directory (ENOENT)"),
        (("--drop", "tcp", "--watch"), "sonde filter: --watch is for a file of rules: give --rules FILE"),
        (("--drp", "tcp"), "sonde filter: there is no option --drp: did you mean --drop or --for?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_and_status_2(arguments: tuple[str, ...], told: str) -> None:
    output = sonde("filter", "lo", *arguments, env=environment())
    assert (output.status, output.out, output.err) == (2, "", told + "\n")


def test_a_missing_capability_is_named(net: Pair) -> None:
    """Some of them are not enough: without CAP_PERFMON the verifier would refuse the program in its own words."""
    with net.far.entered():
        process = subprocess.run(
            ["setpriv", "--bounding-set", "-perfmon,-sys_admin", *SONDE, "filter", net.far.interface, "--drop", "tcp"],
            env=environment(), capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
    assert process.returncode == 77
    assert process.stderr.startswith("sonde: filter sonde1: the process lacks CAP_PERFMON: run it with sudo")


def test_an_interface_that_is_not_there() -> None:
    with namespace() as made, made.entered():
        made.ip("link set dev lo up")
        # Whoever is logged in is told so, too, and not that the rule would cut the connection.
        for variables in ({}, {"SSH_CONNECTION": "127.0.0.1 50000 127.0.0.1 22"}):
            output = sonde("filter", "eth9", "--drop", "tcp", env=environment(**variables))
            assert output.status == 1
            assert output.err == (
                "sonde: attach to xdp:eth9: there is no network interface eth9 in this network namespace: it has lo\n"
            )


def test_another_program_in_its_place_is_named(net: Pair) -> None:
    with filtering(net, "--drop", "tcp"), net.far.entered():
        output = sonde("filter", net.far.interface, "--drop", "udp", env=environment())
    assert output.status == 1
    assert "another XDP program is attached there" in output.err
    assert output.err.count("\n") == 1
