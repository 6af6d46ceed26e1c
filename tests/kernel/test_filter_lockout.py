"""``sonde filter`` and the connection that one is logged in on."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel.filter_process import ended, environment, filtering, rule, said, write
from kernel.network import Pair
from kernel.sonde_process import Output, sonde


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
