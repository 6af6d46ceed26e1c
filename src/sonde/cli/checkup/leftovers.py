"""What a killed sonde may have left: TC filters on clsact, where the kernel has no TCX and even the guardian was killed."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sonde.bpf.link.clsact import PARENTS
from sonde.cli.checkup.check import Check, read
from sonde.errors import KernelError

TITLE, ORDER = "Leftovers", 6

GUARDIAN = "sonde-guardian"[:15]
FILTER = b"sonde"
"""Names that guardian.c gives: its process's, and its filter's."""

_RTM_NEWTFILTER, _RTM_GETTFILTER = 44, 46
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP = 1, 0x300
_TCA_KIND, _TCA_OPTIONS, _TCA_BPF_NAME, _TCA_BPF_ID = 1, 2, 7, 11
_HEADER, _TC = struct.Struct("=IHHII"), struct.Struct("=BBHiIII")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A filter of ours in this network namespace whose guardian is gone."""

    interface: str
    index: int
    direction: str
    program_id: int


def checks() -> Iterator[Check]:
    """Look for filters; ``sonde doctor --clean`` removes them."""
    try:
        found = leftovers()
    except OSError as error:
        yield Check("clsact filters", None, f"cannot be listed: {error.strerror}", "sudo sonde doctor")
        return
    if not found:
        yield Check("clsact filters", True, "none")
        return
    where = ", ".join(f"{each.interface} {each.direction}" for each in found)
    yield Check("clsact filters", False, f"left by a killed sonde: {where}", "sonde doctor --clean")


def leftovers() -> list[Leftover]:
    """Find filters that sonde made and that no living sonde stands behind; raises OSError."""
    ours = [
        Leftover(name, index, direction, program_id)
        for index, name in socket.if_nameindex()
        for direction, parent in PARENTS.items()
        for filter_name, program_id in _filters(index, parent)
        if filter_name == FILTER
    ]
    if not ours:
        return []
    used = _programs_in_use()
    return [each for each in ours if each.program_id not in used]


def clean() -> list[Leftover]:
    """Remove them; gives what was removed. Raises KernelError."""
    from sonde._libbpf import ffi, lib
    from sonde._libbpf.check import check

    found = leftovers()
    for each in found:
        place = ffi.new("struct sonde_clsact *")
        place.interface, place.parent, place.program_id = each.index, PARENTS[each.direction], each.program_id
        check(
            lib.sonde_clsact_remove(place),
            "remove the TC filter from",
            f"{each.interface} {each.direction}",
            capability="CAP_NET_ADMIN",
        )
    return found


def _programs_in_use() -> set[int]:
    """Find the programs that parents of living guardians hold: their filters are no leftovers."""
    used: set[int] = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        if read(f"/proc/{name}/comm") != GUARDIAN:
            continue
        guardian = _status(name)
        parent = guardian.get("PPid", "0")
        # One whose sonde has died is about to clean up, and a dead one guards nothing.
        if _is_dead(guardian) or _is_dead(_status(parent)):
            continue
        try:
            used |= _programs_of(parent)
        except PermissionError:
            # An orphan's parent is the init process; in a container that may be a sonde, which we may read.
            if parent != "1":
                raise
    return used


def _status(pid: str) -> dict[str, str]:
    lines = (read(f"/proc/{pid}/status") or "").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _is_dead(status: dict[str, str]) -> bool:
    return status.get("State", "X")[:1] in ("Z", "X")


def _programs_of(pid: str) -> set[int]:
    folder = f"/proc/{pid}/fdinfo"
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return set()
    texts = (read(f"{folder}/{name}") or "" for name in names)
    return {
        int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("prog_id:")
    }


def _filters(index: int, parent: int) -> Iterator[tuple[bytes, int]]:
    """Dump the BPF filters of one direction of an interface: their names and their programs' numbers."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as wire:
        request = _TC.pack(socket.AF_UNSPEC, 0, 0, index, 0, parent, 0)
        head = _HEADER.pack(_HEADER.size + len(request), _RTM_GETTFILTER, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0)
        wire.send(head + request)
        while True:
            data = wire.recv(1 << 16)
            while data:
                length, kind, _, _, _ = _HEADER.unpack_from(data)
                payload, data = data[_HEADER.size : length], data[(length + 3) & ~3 :]
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    yield from _refused(struct.unpack_from("=i", payload)[0], index)
                    return
                if kind == _RTM_NEWTFILTER:
                    yield from _bpf_filter(payload[_TC.size :])


def _refused(number: int, index: int) -> Iterator[tuple[bytes, int]]:
    # No clsact there, or no such interface any more: then there are no filters either.
    if -number not in (0, errno.EINVAL, errno.ENODEV, errno.ENOENT, errno.EOPNOTSUPP):
        raise KernelError(number, operation="list TC filters of interface", subject=str(index))
    yield from ()


def _bpf_filter(attributes: bytes) -> Iterator[tuple[bytes, int]]:
    found = _attributes(attributes)
    if found.get(_TCA_KIND, b"").rstrip(b"\0") != b"bpf" or _TCA_OPTIONS not in found:
        return
    options = _attributes(found[_TCA_OPTIONS])
    if _TCA_BPF_ID in options:
        yield options.get(_TCA_BPF_NAME, b"").rstrip(b"\0"), int.from_bytes(options[_TCA_BPF_ID], "little")


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found
