"""How a probe is on its interfaces, as a person reads it."""

from __future__ import annotations

from sonde.views.interfaces import interface_lines


def placed(name: str, ingress: str = "", egress: str = "", note: str = "") -> dict[str, str]:
    return {"interface": name, "ingress": ingress, "egress": egress, "note": note}


def test_those_that_are_alike_are_one_line() -> None:
    assert interface_lines(
        [
            placed("eth0", "xdp native", "tc (tcx)"),
            placed("br0", "tc (tcx)", "tc (tcx)", "not by xdp: another XDP program is attached there"),
            placed("eth1", "xdp native", "tc (tcx)"),
            placed("tun0", note="its packets have no Ethernet header"),
            placed("tap0", "tc (clsact)", "tc (clsact)"),
        ],
        ["wg*"],
    ) == [
        "eth0, eth1: in by xdp native, out by tc (tcx)",
        "br0: in and out by tc (tcx); not by xdp: another XDP program is attached there",
        "tun0: not attached: its packets have no Ethernet header",
        "tap0: in and out by tc (clsact)",
        "wg*: no interface has such a name yet",
    ]


def test_a_machine_with_many_does_not_fill_the_screen() -> None:
    lines = interface_lines([placed(f"veth{at}", "xdp native") for at in range(100)])
    assert ["veth0, veth1, veth2, veth3, veth4, veth5 and 94 more: in by xdp native"] == lines


def test_where_there_is_none_that_is_said() -> None:
    assert ["there is none of the chosen interfaces"] == interface_lines([])
