"""Network namespaces: the number that the kernel knows one by."""

from __future__ import annotations

import os

NAMED = "/run/netns"
"""Where ``ip netns add NAME`` puts a name."""


def namespace_number(wanted: str | int) -> int:
    """Give the number of a network namespace: of a process by its pid, of a path, of a name of ``ip netns``.

    Raises OSError where there is none.
    """
    text = str(wanted)
    if text.isdecimal():
        path = f"/proc/{text}/ns/net"
    else:
        path = text if "/" in text else f"{NAMED}/{text}"
    return os.stat(path).st_ino
