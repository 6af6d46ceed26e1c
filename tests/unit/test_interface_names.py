"""Names beside interfaces' numbers, also of those that have gone."""

from __future__ import annotations

import socket

import numpy as np

from sonde.enrich.interface import IFINDEX, InterfaceNames, names_in_sysfs
from sonde.records.model import Column, RecordBatch, Schema


def batch(**columns: list[int]) -> RecordBatch:
    schema = Schema("test.rows", tuple(Column(name, IFINDEX) for name in columns))
    return RecordBatch(schema, {name: np.array(values, np.uint32) for name, values in columns.items()})


def test_one_that_has_gone_keeps_its_last_name_and_none_has_no_name() -> None:
    known = {2: "eth0", 9: "veth7"}
    names = InterfaceNames(lambda: dict(known))
    assert ["eth0", "veth7", None, "eth0"] == names(batch(ifindex=[2, 9, 0, 2]))["interface"].tolist()
    del known[9]
    known[2] = "uplink"
    assert ["uplink", "veth7", "if77"] == names(batch(ifindex=[2, 9, 77]))["interface"].tolist()
    known[9] = "again0"
    assert ["again0"] == names(batch(ifindex=[9]))["interface"].tolist()


def test_each_number_has_a_name_of_its_own() -> None:
    names = InterfaceNames(lambda: {1: "lo", 2: "eth0"})
    found = names(batch(ifindex=[1], target_ifindex=[2], peer=[2]))
    assert (["lo"], ["eth0"], ["eth0"]) == tuple(
        found[name].tolist() for name in ("interface", "target_interface", "peer_interface")
    )
    assert [] == names(batch(ifindex=[]))["interface"].tolist()


def test_without_more_it_knows_those_that_are_here() -> None:
    index = socket.if_nametoindex("lo")
    assert ["lo"] == InterfaceNames()(batch(ifindex=[index]))["interface"].tolist()
    assert "lo" == names_in_sysfs()[index], "what is asked where netlink is not allowed"


def test_a_batch_without_interfaces_stays_as_it_is() -> None:
    plain = RecordBatch(Schema("test.rows", (Column("pid"),)), {"pid": np.array([7])})
    assert InterfaceNames(dict)(plain) is plain
