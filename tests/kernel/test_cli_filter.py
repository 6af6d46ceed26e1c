"""``sonde filter`` as a person runs it: a list of ten thousand networks, files read again, the end, and the lock-out."""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest

from filtering import TCP, UDP, frame_of
from kernel import leftovers
from kernel.network import Pair, namespace, pair
from kernel.sonde_process import PATIENCE_S, SONDE, Output, balanced, output_of, ready, sonde
from sonde.filter.packet import Packet

CIDRS = 10_007


@pytest.fixture
def net(require_feature: object) -> Iterator[Pair]:
    require_feature("xdp")  # type: ignore[operator]
    with pair() as made:
        yield made


@contextmanager
def filtering(net: Pair, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run it on the far end; on from the moment when it is attached."""
    with ExitStack() as stack:
        with net.far.entered():
            process = stack.enter_context(ready("filter", net.far.interface, *arguments, env=environment()))
        yield process


def environment(**variables: str) -> dict[str, str]:
    """The tests' own, without what whoever runs them is logged in by."""
    return {name: text for name, text in os.environ.items() if not name.startswith("SSH_")} | variables


def ended(process: subprocess.Popen[str], number: int = signal.SIGINT) -> Output:
    process.send_signal(number)
    return output_of(process)


def frame(net: Pair, source: str | IPv4Address, port: int = 53, protocol: int = UDP) -> bytes:
    flags = 2 if protocol == TCP else None
    raw = frame_of(Packet(ip_address(str(source)), ip_address(net.far.address), protocol, 4242, port, flags))
    return net.far.mac + net.near.mac + raw[12:]


def attached(net: Pair) -> int | None:
    """The number of the XDP program at the far end, as iproute2 tells it."""
    (link,) = json.loads(net.far.run("ip", "-j", "-d", "link", "show", "dev", net.far.interface))
    found = link.get("xdp", {}).get("prog", {}).get("id")
    return None if found is None else int(found)


def counts(output: Output) -> dict[str, tuple[int, int]]:
    """Packets and dropped ones of the last reading, by what they met."""
    return {row["match"]: (row["packets"], row["dropped"]) for row in output.final}


def write(path: Path, text: str) -> None:
    """In the place of what was there, at once, as editors do."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o644)
    new.replace(path)


def said(process: subprocess.Popen[str], words: str) -> str:
    """Read what it says on stderr until some words come."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return line
    raise AssertionError(f"it ended without {words!r}")


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


# ---- files that are read again ----------------------------------------------------------------------------------


def rule(port: int) -> str:
    return f'[[rule]]\naction = "drop"\nmatch = "udp dst port {port}"\n'


def test_a_hangup_reads_the_file_again(net: Pair, tmp_path: Path) -> None:
    """A good file takes the old one's place; a bad one is refused with its reason, and the old rules stay."""
    path = tmp_path / "rules.toml"
    write(path, rule(7))
    with filtering(net, "--rules", str(path), "--every", "1h", "--format", "json") as process:
        net.send(frame(net, "10.0.0.1", 7), count=3)
        write(path, rule(9) + rule(7))
        process.send_signal(signal.SIGHUP)
        assert (
            said(process, "replaced") == "sonde: the rules were replaced: 2 rules: 1 kept, 1 new, 0 removed\n"
        )
        net.send(frame(net, "10.0.0.1", 7), frame(net, "10.0.0.1", 9), count=5)
        write(path, rule(9).replace("udp", "upd"))
        process.send_signal(signal.SIGHUP)
        assert said(process, "old rules") == (
            f"sonde: the old rules stay: {path}:1: rule 1, match: character 1: 'upd': "
            "no condition begins like this: did you mean udp?\n"
        )
        path.unlink()
        process.send_signal(signal.SIGHUP)
        assert said(process, "old rules").endswith("rules.toml: no such file or directory (ENOENT)\n")
        net.send(frame(net, "10.0.0.1", 9), count=2)
        output = ended(process)
    assert counts(output) == {
        "udp and dst port 9": (7, 7),
        "udp and dst port 7": (8, 8),
        "(no rule)": (0, 0),
    }
    assert balanced(output.accounting)


def test_a_file_that_changes_is_read_again_where_it_is_watched(net: Pair, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    write(path, rule(7))
    with filtering(net, "--rules", str(path), "--watch", "--every", "50ms", "--format", "csv") as process:
        write(path, rule(9))
        assert said(process, "replaced").endswith("1 rule: 0 kept, 1 new, 1 removed\n")
        write(path, "nonsense")
        assert "the old rules stay" in said(process, "stay")
        assert ended(process).status == 0


def test_a_list_that_changes_is_read_again_with_its_file(net: Pair, tmp_path: Path) -> None:
    """The rules stay as they are, and what they mean does not: a list that is put in the place of the old one, too."""
    path, networks = tmp_path / "rules.toml", tmp_path / "blocked.txt"
    write(path, '[[rule]]\naction = "drop"\nsrc_file = "blocked.txt"\n')
    write(networks, "192.0.2.1\n")
    with filtering(net, "--rules", str(path), "--watch", "--every", "100ms", "--format", "json") as process:
        write(networks, "192.0.2.1\n10.0.0.0/8\n")
        assert said(process, "replaced").endswith("1 rule: 0 kept, 1 new, 1 removed\n")
        net.send(frame(net, "10.0.0.1", 9), count=7)
        networks.unlink()
        assert "blocked.txt: no such file" in said(process, "stay")
        output = ended(process)
    assert counts(output)["src 192.0.2.1,10.0.0.0/8"] == (7, 7)


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


# ---- the connection one is logged in on -------------------------------------------------------------------------


@contextmanager
def logged_in(net: Pair) -> Iterator[tuple[str, socket.socket]]:
    """A connection from the near end to the far one, whose far side this process holds: SSH_CONNECTION, and that side."""
    with net.far.entered():
        server = socket.create_server((net.far.address, 2222))
    with net.near.entered():
        client = socket.create_connection((net.far.address, 2222), timeout=60)
    with server, client:
        held, (peer, port) = server.accept()
        with held:
            yield f"{peer} {port} {net.far.address} 2222", held


def attempt(net: Pair, *arguments: str, **variables: str) -> Output:
    with net.far.entered():
        return sonde("filter", *arguments, "--for", "100ms", env=environment(**variables))


@pytest.mark.host_only
def test_rules_that_would_cut_ones_own_connection_are_refused(net: Pair) -> None:
    """Found by the sockets of the parents, without any variable; nothing was attached."""
    with logged_in(net) as (_, held):
        output = attempt(net, net.far.interface, "--drop", "src 10.99.0.0/16")
        assert output.status == 1
        peer = f"{net.near.address} port {held.getpeername()[1]}"
        assert output.err.startswith(
            "sonde: filter sonde1: rule 1 (drop: src 10.99.0.0/16) would cut the connection that you are logged in on, "
            f"from {peer} to {net.far.address} port 2222 (held by "
        )
        assert output.err.endswith(
            f": put a rule before it that allows src {net.near.address}, or give --cut-my-connection twice\n"
        )
        assert "once more" in attempt(net, net.far.interface, "--drop", "ip", "--cut-my-connection").err
        told_twice = ("--cut-my-connection", "--cut-my-connection")
        for arguments in (
            (net.far.interface, "--drop", "tcp dst port 2222", *told_twice),
            (net.far.interface, "--drop", "src 10.99.0.0/16", "--dry-run"),
            (net.far.interface, "--allow", f"src {net.near.address}", "--drop", "ip"),
            (net.far.interface, "--drop", "syn and not ack"),
            # Another interface of the same namespace, by which nothing of the connection comes.
            ("lo", "--drop", "ip"),
        ):
            assert attempt(net, *arguments).status == 0, arguments


@pytest.mark.host_only
@pytest.mark.parametrize(
    ("address", "rule", "why"),
    [
        ("address6", "src fd00:99::/64", "would cut"),
        ("address6", "icmp6", ", for it drops the ICMPv6 by which neighbours find each other: put a rule"),
        # A socket of IPv6 that takes IPv4, too, shows mapped addresses; the packets are IPv4.
        ("address", "ip src 10.99.0.0/24", "would cut"),
    ],
)
def test_connections_of_ipv6_sockets_are_found_too(net: Pair, address: str, rule: str, why: str) -> None:
    target = getattr(net.far, address)
    with net.far.entered():
        server = socket.create_server(("::", 2222), family=socket.AF_INET6, dualstack_ipv6=True)
    with net.near.entered():
        client = socket.create_connection((target, 2222), timeout=60)
    with server, client:
        held, _ = server.accept()
        with held:
            output = attempt(net, net.far.interface, "--drop", rule)
    assert output.status == 1
    assert why in output.err


@pytest.mark.host_only
def test_the_environment_tells_of_the_connection_too(net: Pair) -> None:
    """As where sudo or a terminal multiplexer stands between: the address is ours, the rule would cut it."""
    told = {"SSH_CONNECTION": f"192.0.2.7 50000 {net.far.address} 22"}
    output = attempt(net, net.far.interface, "--drop", "not src 10.0.0.0/8", **told)
    assert output.status == 1
    assert f"from 192.0.2.7 port 50000 to {net.far.address} port 22 (SSH_CONNECTION)" in output.err
    # Told of an address that this network namespace has not: some other connection.
    elsewhere = {"SSH_CONNECTION": "192.0.2.7 50000 192.0.2.1 22"}
    assert attempt(net, net.far.interface, "--drop", "not src 10.0.0.0/8", **elsewhere).status == 0
    for nonsense in ("", "x", "1 2 3 4", "::1 a ::1 b"):
        assert attempt(net, net.far.interface, "--drop", "tcp", SSH_CONNECTION=nonsense).status == 0


@pytest.mark.parametrize("rule", ["icmp6", "ip6"])
def test_rules_that_a_refusal_asks_for_are_enough(net: Pair, rule: str) -> None:
    """Who puts before the rule what each refusal says gets through: neighbours' ICMPv6 has another source than the peer."""
    told = {"SSH_CONNECTION": f"{net.near.address6} 50000 {net.far.address6} 22"}
    allowed: list[str] = []
    for _ in range(3):
        output = attempt(net, net.far.interface, *allowed, "--drop", rule, **told)
        if output.status == 0:
            break
        allowed += ["--allow", output.err.partition("put a rule before it that allows ")[2].partition(",")[0]]
    assert output.status == 0, output.err


def test_a_file_that_would_cut_the_connection_is_not_read_again(net: Pair, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    write(path, rule(7))
    with logged_in(net), filtering(net, "--rules", str(path), "--format", "csv") as process:
        write(path, '[[rule]]\naction = "drop"\nprotocol = "tcp"\n')
        process.send_signal(signal.SIGHUP)
        assert "the old rules stay: filter sonde1: rule 1 (drop: tcp) would cut" in said(process, "stay")
        assert ended(process).status == 0
