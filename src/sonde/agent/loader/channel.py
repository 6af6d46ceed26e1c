"""The wire between agent and loader: datagrams of bounded size over a socket pair, with descriptors."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Sequence

from sonde.agent.loader.protocol import DESCRIPTORS_MAX, MESSAGE_BYTES_MAX


class OversizedError(Exception):
    """A datagram was longer than the bound, or carried descriptors that were not asked for; it is gone."""


class Channel:
    """One end of the pair (SOCK_SEQPACKET); ``close`` is its end for the other side, too."""

    def __init__(self, end: socket.socket, *, descriptors_max: int = 0) -> None:
        """Own a socket; ``descriptors_max`` may come with a datagram, the kernel drops others before they are here."""
        self._socket = end
        self._descriptors_max = descriptors_max

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Make both ends: the agent's, which takes descriptors, and the socket for the loader, which takes none."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours, descriptors_max=DESCRIPTORS_MAX), theirs

    def fileno(self) -> int:
        """Give the socket's descriptor; -1 once it is closed."""
        return self._socket.fileno()

    def send(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send one datagram; raises OSError (BrokenPipeError when nobody is there any more)."""
        rights = (
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        )
        self._socket.sendmsg([data], rights, socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[bytes, list[int]] | None:
        """Receive one datagram and its descriptors, which are the caller's; None at the end.

        Raises OversizedError.
        """
        room = (
            socket.CMSG_LEN(self._descriptors_max * array.array("i").itemsize) if self._descriptors_max else 0
        )
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(MESSAGE_BYTES_MAX, room, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            return None
        received = array.array("i")
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                received.frombytes(content[: len(content) - len(content) % received.itemsize])
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            for fd in received:
                os.close(fd)
            raise OversizedError
        if not data:
            return None
        return data, received.tolist()

    def shut(self) -> None:
        """End the conversation for both sides, with ``fileno`` left to look at: from now on it is readable."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this end; again is fine."""
        self._socket.close()
