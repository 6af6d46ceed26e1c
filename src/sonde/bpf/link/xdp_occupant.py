"""Which XDP program is on an interface already: for whoever is told that there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from sonde._libbpf import ffi, lib

MODES = {"native": 1 << 2, "generic": 1 << 1, "offload": 1 << 3}  # XDP_FLAGS_*_MODE in linux/if_link.h
OFF = {"native": "xdpdrv", "generic": "xdpgeneric", "offload": "xdpoffload"}
"""What ip-link(8) calls the modes."""


@dataclass(frozen=True, slots=True)
class XdpOccupant:
    """A program on an interface, in one mode; ``name`` is empty where it must not be asked (CAP_SYS_ADMIN).

    ``link_id`` is the link that holds it; None where there is none, or where links must not be asked.
    """

    program_id: int
    name: str
    mode: str
    link_id: int | None

    def __str__(self) -> str:
        name = f" ({self.name})" if self.name else ""
        return f"number {self.program_id}{name} in mode {self.mode}"

    def removal(self, interface: str | int) -> str:
        """Say how to take it away."""
        if self.link_id is None:
            return f"ip link set dev {interface} {OFF[self.mode]} off"
        return (
            f"end the process that holds its link (bpftool link show id {self.link_id} tells which), "
            f"or: bpftool link detach id {self.link_id}"
        )


def xdp_occupants(index: int) -> list[XdpOccupant]:
    """Find the XDP programs of an interface, by its number; none where it cannot be asked."""
    found = []
    for mode, flags in MODES.items():
        number = ffi.new("__u32 *")
        if lib.bpf_xdp_query_id(index, flags, number) == 0 and number[0]:
            program_id = int(number[0])
            found.append(XdpOccupant(program_id, _name_of(program_id), mode, _link_of(program_id)))
    return found


def _name_of(program_id: int) -> str:
    fd = lib.bpf_prog_get_fd_by_id(program_id)
    if fd < 0:
        return ""
    try:
        info = ffi.new("struct bpf_prog_info *")
        size = ffi.new("__u32 *", ffi.sizeof("struct bpf_prog_info"))
        if lib.bpf_prog_get_info_by_fd(fd, info, size) < 0:
            return ""
        return str(ffi.string(info.name).decode(errors="replace"))
    finally:
        os.close(fd)


def _link_of(program_id: int) -> int | None:
    for link_id in _link_ids():
        fd = lib.bpf_link_get_fd_by_id(link_id)
        if fd < 0:
            continue
        try:
            info = ffi.new("struct bpf_link_info *")
            size = ffi.new("__u32 *", ffi.sizeof("struct bpf_link_info"))
            if lib.bpf_link_get_info_by_fd(fd, info, size) == 0 and info.prog_id == program_id:
                return link_id
        finally:
            os.close(fd)
    return None


def _link_ids() -> Iterator[int]:
    number = ffi.new("__u32 *")
    while lib.bpf_link_get_next_id(number[0], number) == 0:
        yield int(number[0])
