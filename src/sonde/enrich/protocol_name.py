"""Names of what frames carry: IP protocols, EtherTypes, and why neither is known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sonde.enrich.numbered import numbered

if TYPE_CHECKING:
    from sonde.records.model import RecordBatch

PROTOCOL, IP_VERSION, DIRECTION = "sonde_protocol_t", "sonde_ip_version_t", "sonde_direction_t"
"""The typedefs of what a frame carries, of its IP version and of its way: probes/_include/types.bpf.h."""

REASON = 0x100  # PROTOCOL_REASON in probes/packets/kind.bpf.h; below are IP's protocols
LLC = 0x200
ETHERTYPE_MIN = 0x600

REASONS = MappingProxyType(
    {
        1: "truncated",
        2: "bad_version",
        3: "bad_header_length",
        4: "too_many_tags",
        5: "too_many_extensions",
    }
)
"""enum packet_reason in probes/_include/packet.bpf.h → name."""

DIRECTIONS = ("ingress", "egress")


@cache
def ip_protocols() -> Mapping[int, str]:
    """Give number → name, as IANA spells it: ``TCP``, ``IPv6-ICMP``."""
    from sonde.enrich.ip_protocol_table import IP_PROTOCOLS

    return MappingProxyType(numbered(IP_PROTOCOLS))


@cache
def ethertypes() -> Mapping[int, str]:
    """Give number → name, as the kernel's if_ether.h has it: ``ARP``, ``LLDP``."""
    from sonde.enrich.ethertype_table import ETHERTYPES

    return MappingProxyType(numbered(ETHERTYPES))


def ip_protocol_name(number: int) -> str:
    """Name an IP protocol; ``protocol_N`` where IANA has none."""
    return ip_protocols().get(number, f"protocol_{number}")


def ethertype_name(number: int) -> str:
    """Name an EtherType; ``ethertype_0xNNNN`` where the kernel has none."""
    return ethertypes().get(number, f"ethertype_0x{number:04x}")


def protocol_name(number: int) -> str:
    """Name what a frame carries, as probes/packets/kind.bpf.h numbers it."""
    if number >= ETHERTYPE_MIN:
        return ethertype_name(number)
    if number < REASON:
        return ip_protocol_name(number)
    return "LLC" if number == LLC else REASONS.get(number - REASON, f"reason_{number - REASON}")


def with_protocol_name(batch: RecordBatch) -> RecordBatch:
    """Put names in the place of protocols and directions, mask versions that are none.

    The row of what found a table full is named ``other``, and has no direction.
    """
    import numpy as np

    from sonde.enrich.each import each_once

    others = np.asarray(batch.columns.get("is_other", np.zeros(len(batch), bool)))
    added: dict[str, Any] = {}
    for column in batch.schema.having(PROTOCOL):
        names: Any = np.ma.getdata(each_once(batch[column.name], protocol_name))
        names[others] = "other"
        added[column.name] = names
    for column in batch.schema.having(IP_VERSION):
        values = np.asarray(batch[column.name])
        added[column.name] = np.ma.masked_array(values, mask=others | (values == 0))
    for column in batch.schema.having(DIRECTION):
        words = np.array(DIRECTIONS, dtype=object)[np.asarray(batch[column.name])]
        added[column.name] = np.ma.masked_array(words, mask=others)
    return batch.adding(added)
