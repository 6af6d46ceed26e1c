"""Longest-prefix-match tries: routes and address lists."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, NamedTuple

from sonde.bpf.map.hash import HashMap

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network


class Prefix(NamedTuple):
    """The first ``length_bits`` bits of ``data``, which has the trie's full width, in network byte order."""

    length_bits: int
    data: bytes

    @property
    def network(self) -> IPv4Network | IPv6Network:
        """The prefix as an IP network; raises ValueError unless it is 4 or 16 bytes wide."""
        import ipaddress

        return ipaddress.ip_network((self.data, self.length_bits))


class LpmTrieMap(HashMap):
    """A trie, as a dictionary from prefix to value.

    Keys are given as ``Prefix``, as (bits, bytes), as IP networks or addresses, or as text (``"10.0.0.0/8"``); they
    come back as Prefix. A look-up finds the longest prefix that covers the key.
    """

    _full = (-errno.ENOSPC,)

    def encode_key(self, key: Any) -> bytes:
        import ipaddress

        width = self.key_size - 4
        if isinstance(key, str):
            key = ipaddress.ip_network(key, strict=False)
        if isinstance(key, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
            key = ipaddress.ip_network(key)
        if isinstance(key, (ipaddress.IPv4Network, ipaddress.IPv6Network)):
            key = (key.prefixlen, key.network_address.packed)
        length_bits, data = key
        if len(data) != width or not 0 <= length_bits <= width * 8:
            raise ValueError(
                f"use map {self.name}: a key has {width} bytes and at most {width * 8} bits, got "
                f"{len(data)} and {length_bits}"
            )
        return int(length_bits).to_bytes(4, "little") + bytes(data)

    def decode_key(self, raw: bytes | memoryview) -> Prefix:
        return Prefix(int.from_bytes(raw[:4], "little"), bytes(raw[4:]))
