"""Which hosts are IP addresses, and which only this machine can reach."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from sonde.exporters.host import is_loopback, octets_of

ADDRESSES = ["127.0.0.1", "127.255.255.254", "128.0.0.1", "0.0.0.0", "10.0.0.1", "::1", "::", "fe80::1", "2001:db8::7f00:1"]  # fmt: skip
NAMES = ["", "localhost", "example.org", "127.1", "127.0.0.01", "127.0.0.1%lo", "1.2.3", "::1::", "[::1]", "a\0b", "ä", "\udcff"]  # fmt: skip


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_is_what_the_standard_library_takes_it_for(text: str) -> None:
    expected = ip_address(text)

    assert octets_of(text) == expected.packed
    assert is_loopback(text) == expected.is_loopback


@pytest.mark.parametrize("text", NAMES)
def test_a_name_is_no_address(text: str) -> None:
    """Of names one alone is this machine's, whatever a resolver says."""
    assert octets_of(text) is None
    assert is_loopback(text) == (text == "localhost")


def test_a_scope_does_not_change_the_address() -> None:
    assert octets_of("fe80::1%eth0") == ip_address("fe80::1").packed
    assert is_loopback("::1%lo")


def test_an_address_of_the_other_family_inside_is_no_loopback() -> None:
    """A socket of IPv6 that is bound to it can be reached over IPv4."""
    assert not is_loopback("::ffff:127.0.0.1")
