"""Which interfaces are meant by names, patterns and numbers."""

from __future__ import annotations

import pytest

from sonde.bpf.link.interface import ETHERNET, LOOPBACK, Interface
from sonde.errors import AttachError
from sonde.probe import Selection
from sonde.run.choice import Choice

LO, ETH0, ETH1, VETH, SEVEN = (
    Interface(1, "lo", LOOPBACK),
    Interface(2, "eth0"),
    Interface(3, "eth1"),
    Interface(9, "vethab12"),
    Interface(4, "7"),
)
HERE = [LO, ETH0, ETH1, VETH, SEVEN]


def names(*wanted: str | int, without: tuple[str | int, ...] = ()) -> list[str]:
    choice = Choice.of(Selection(interfaces=wanted, exclude_interfaces=without))
    return [each.name for each in HERE if choice.takes(each, HERE)]


@pytest.mark.parametrize(
    ("wanted", "without", "expected"),
    [
        ((), (), ["eth0", "eth1", "vethab12", "7"]),
        ((), ("veth*", "eth1"), ["eth0", "7"]),
        (("eth0",), (), ["eth0"]),
        (("eth*",), (), ["eth0", "eth1"]),
        (("*",), (), ["lo", "eth0", "eth1", "vethab12", "7"]),
        (("lo",), (), ["lo"]),
        (("eth[1-9]", "lo"), (), ["lo", "eth1"]),
        ((3,), (), ["eth1"]),
        (("3",), (), ["eth1"]),
        (("7",), (), ["7"]),
        (("eth*",), (2,), ["eth1"]),
        (("wlan*",), (), []),
        (("ETH0*",), (), []),
    ],
)
def test_names_patterns_and_numbers(
    wanted: tuple[str | int, ...], without: tuple[str | int, ...], expected: list[str]
) -> None:
    assert expected == names(*wanted, without=without)


def test_what_was_named_exactly_stays_under_another_name_and_what_matched_a_pattern_does_not() -> None:
    choice = Choice(("eth0", "wan*"), ("secret",))
    renamed = Interface(2, "uplink")
    assert choice.takes(renamed, [renamed], is_named=True)
    assert not choice.takes(renamed, [renamed])
    assert not choice.takes(Interface(2, "secret"), [Interface(2, "secret")], is_named=True)


def test_a_name_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        AttachError, match=r"no network interface eht0 .*: did you mean eth0.*\? it has lo, eth0"
    ):
        Choice(("eht0",), ()).require(HERE)
    with pytest.raises(AttachError, match="no network interface number 5 "):
        Choice((5,), ()).require(HERE)
    Choice(("wg*", "eth0", 9), ("gone0",)).require(HERE)


def test_many_names_are_not_all_told() -> None:
    many = [Interface(at, f"veth{at:04}", ETHERNET) for at in range(1, 101)]
    with pytest.raises(AttachError) as caught:
        Choice(("tun7",), ()).require(many)
    assert str(caught.value).endswith("veth0012 and 88 more")


def test_patterns_that_nothing_matches_are_waited_for() -> None:
    assert ("wg*",) == Choice(("eth*", "wg*", "lo"), ()).idle(HERE)
