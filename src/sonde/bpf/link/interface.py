"""Network interfaces, by name or number, in the calling thread's network namespace."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sonde.errors import AttachError, KernelError
from sonde.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sonde.bpf.link.hook import Hook

SIOCGIFHWADDR = 0x8927  # linux/sockios.h
ETHERNET, LOOPBACK = 1, 772  # ARPHRD_ETHER, ARPHRD_LOOPBACK in linux/if_arp.h
ALLOW_NETLINK = "allow AF_NETLINK, as packaging/systemd/interfaces.conf does"
RENAMED_TRIES, RENAMED_WAIT_S = 200, 0.005
NAMES_MAX = 12
"""So many interfaces a message names."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface as it is now: others may have its name, and much later its number."""

    index: int
    name: str
    link_type: int = ETHERNET
    """ARPHRD_*: what its frames begin with."""

    @property
    def is_loopback(self) -> bool:
        """Tell whether it is ``lo``, by whatever name."""
        return self.link_type == LOOPBACK

    @property
    def has_ethernet(self) -> bool:
        """Tell whether its frames begin with an Ethernet header; those of tun and WireGuard begin with IP's."""
        return self.link_type in (ETHERNET, LOOPBACK)


def interfaces() -> list[Interface]:
    """List the interfaces of this namespace, those too that are down; needs no privileges.

    Raises KernelError where netlink is not allowed, or without memory.
    """
    try:
        here = socket.if_nameindex()
    except OSError as error:
        number = error.errno or errno.EIO
        hint = ALLOW_NETLINK if number == errno.EAFNOSUPPORT else ""
        raise KernelError(number, operation="list network interfaces", hint=hint) from None
    # Any socket takes these calls (dev_ioctl), and is of the namespace that it was made in.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
        found = [_interface(wire, index, name) for index, name in here]
    return [each for each in found if each is not None]


def _interface(wire: socket.socket, index: int, name: str) -> Interface | None:
    """Tell of a listed interface, which may have got another name since; None where it has gone meanwhile.

    While one is renamed the kernel finds it by neither name, for a grace period of RCU (dev_change_name).
    """
    for _ in range(RENAMED_TRIES):
        try:
            answer = fcntl.ioctl(wire, SIOCGIFHWADDR, struct.pack("16s24x", os.fsencode(name)))
        except OSError:
            name = interface_name(index)
            if name == str(index):
                return None
            time.sleep(RENAMED_WAIT_S)
            continue
        return Interface(index, name, int(struct.unpack_from("H", answer, 16)[0]))
    return None


def interface_index(interface: str | int, hook: Hook) -> int:
    """Give the number of an interface; raises AttachError with the names of those that are there."""
    if isinstance(interface, int):
        return interface
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        why, hint = no_such_interface(interface, (name for _, name in socket.if_nameindex()))
        raise AttachError(f"attach to {hook}", why=why, hint=hint, hook=str(hook)) from None


def interface_name(interface: str | int) -> str:
    """Give the name of an interface; its number where it has none any more."""
    if isinstance(interface, str):
        return interface
    try:
        return socket.if_indextoname(interface)
    except OSError:
        return str(interface)


def no_such_interface(interface: str | int, names: Iterable[str]) -> tuple[str, str]:
    """Say that there is none of a name or number, and which there are, the nearest first."""
    known = list(names)
    near = nearest(str(interface), known)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    more = f" and {len(known) - NAMES_MAX} more" if len(known) > NAMES_MAX else ""
    what = f"number {interface}" if isinstance(interface, int) else interface
    return (
        f"there is no network interface {what} in this network namespace",
        f"{meant}it has {', '.join(known[:NAMES_MAX])}{more}",
    )


def name_or_index(text: str) -> str | int:
    """Read an interface: digits are its number."""
    return int(text) if text.isdigit() else text
