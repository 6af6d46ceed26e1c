"""Network interfaces, by name or number, in the calling thread's network namespace."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from sonde.errors import AttachError

if TYPE_CHECKING:
    from sonde.bpf.link.hook import Hook


def interface_index(interface: str | int, hook: Hook) -> int:
    """Give the number of an interface; raises AttachError with the names of those that are there."""
    if isinstance(interface, int):
        return interface
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        names = ", ".join(name for _, name in socket.if_nameindex())
        raise AttachError(
            f"attach to {hook}",
            why=f"there is no network interface {interface} in this network namespace",
            hint=f"it has {names}",
            hook=str(hook),
        ) from None


def name_or_index(text: str) -> str | int:
    """Read an interface: digits are its number."""
    return int(text) if text.isdigit() else text
