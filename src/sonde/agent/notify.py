"""Telling systemd how the service does: sd_notify(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends states to the socket that systemd named in the environment; without one it does nothing.

    ``watchdog_s`` is how often systemd wants to hear of us, None if it does not.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # An address in the abstract namespace is written with @ for its first byte, which is 0.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        wanted_us = environment.get("WATCHDOG_USEC", "")
        asked = environment.get("WATCHDOG_PID", str(os.getpid()))
        self.watchdog_s = (
            int(wanted_us) / 1e6 if wanted_us.isdecimal() and asked == str(os.getpid()) else None
        )

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            # A service manager that went away must not end what it manages.
            return

    def ready(self, status: str) -> None:
        """Everything is attached and counts."""
        self._send("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    def reloading(self, monotonic_ns: int) -> None:
        """A new configuration is being read (Type=notify-reload)."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns // 1000}")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """The loop turns."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")
