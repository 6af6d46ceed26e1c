"""The interfaces that a run is on: attached when it starts, and those that come later when they come."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from sonde.bpf.link.interface import Interface, interfaces
from sonde.errors import SondeError
from sonde.run.choice import Choice
from sonde.run.placing import Placed, Placing

if TYPE_CHECKING:
    from sonde.probe import Selection

RTMGRP_LINK = 1  # linux/rtnetlink.h
DATAGRAM_BYTES = 1 << 16
RETRY_MS = 1000
KNOWN_MAX = 4096
"""With so many interfaces those that have gone lose their names, the first to go first."""


class Interfaces:
    """Attaches a probe's programs to the chosen interfaces, and follows those that come, go and are renamed.

    A thread waits for the kernel to say that something has changed (rtnetlink), and then looks at what there is: the
    messages are a bell, and one that is lost is made up for by the next. ``close`` ends it; links are closed with the
    object. May be read from any thread.
    """

    def __init__(self, selection: Selection, placing: Placing) -> None:
        self._choice = Choice.of(selection)
        self._placing = placing
        self._known: dict[int, Placed] = {}
        self._last = 0
        self._named: frozenset[int] = frozenset()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._bell: socket.socket | None = None
        self._end = -1

    # ---- attaching ------------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Attach to all that are chosen now, then follow; closed by ``close``.

        Raises AttachError where an interface that was named cannot be had, or none of all; PermissionDeniedError.
        """
        # The listing first: it says best where netlink is not allowed.
        interfaces()
        self._bell = _bell()
        here = interfaces()
        self._choice.require(here)
        self._named = self._choice.named(here)
        refusals: list[SondeError] = []
        with self._lock:
            for each in self._chosen(here):
                try:
                    self._place(each)
                except SondeError as error:
                    if each.index in self._named:
                        raise
                    self._refuse(each, error)
                    refusals.append(error)
        if refusals and len(refusals) == len(self._known):
            raise refusals[0]

    def follow(self) -> None:
        """Begin to take interfaces that come, and to let go those that leave."""
        assert self._bell is not None, "attach comes first"
        self._end = os.eventfd(0, os.EFD_CLOEXEC)
        # The thread holds no reference while it waits: a run that everybody has forgotten is closed as ever.
        arguments = (weakref.ref(self), self._bell, self._end)
        self._thread = threading.Thread(target=_follow, args=arguments, name="sonde-interfaces", daemon=True)
        self._thread.start()

    def choose(self, selection: Selection) -> None:
        """Choose others from now on; those that stay chosen go on without a gap. Returns when it is so.

        Raises AttachError where one that is named exactly is not there: then all stays as it was.
        """
        choice, here = Choice.of(selection), interfaces()
        choice.require(here)
        with self._lock:
            self._choice, self._named = choice, frozenset()
        self.look_again()

    def look_again(self) -> bool:
        """Be on what is chosen of what there is now; False where that cannot be listed, for want of memory, say."""
        with self._lock:
            try:
                # Under the lock: of two who look at once, the one that looked last acts last.
                here = interfaces()
            except OSError:
                return False
            chosen = {each.index: each for each in self._chosen(here)}
            for placed in [each for each in self._here() if each.interface.index not in chosen]:
                self._note(replace(placed, links=(), is_here=False, note=_let_go(placed)))
            for each in chosen.values():
                self._take(each)
        return True

    def _take(self, interface: Interface) -> None:
        """Attach to an interface that is new, note the new name of one that is not."""
        known = self._known.get(interface.index)
        if known is not None and known.is_here:
            if known.interface == interface and known.is_alive:
                return
            if known.is_alive and not known.is_refused:
                self._note(replace(known, interface=interface))
                return
            # Another interface has its number, which is given anew where somebody asks for it.
            _let_go(known)
        try:
            self._place(interface)
        except (SondeError, OSError) as error:
            self._refuse(interface, error)

    def _place(self, interface: Interface) -> None:
        self._note(self._placing.place(interface))

    def _refuse(self, interface: Interface, error: SondeError | OSError) -> None:
        why = error.why if isinstance(error, SondeError) else ""
        self._note(Placed(interface, note=why or str(error)))

    def _chosen(self, here: list[Interface]) -> list[Interface]:
        # An exact name means whoever has it, and goes on meaning that one when it is renamed.
        self._named = (self._named & {each.index for each in here}) | self._choice.named(here)
        return [each for each in here if self._choice.takes(each, here, is_named=each.index in self._named)]

    def _note(self, placed: Placed) -> None:
        """Remember what has happened to an interface, the newest last."""
        self._last += 1
        self._known.pop(placed.interface.index, None)
        self._known[placed.interface.index] = replace(placed, number=self._last)
        gone = (index for index, each in self._known.items() if not each.is_here)
        for index in list(islice(gone, max(0, len(self._known) - KNOWN_MAX))):
            del self._known[index]

    def _here(self) -> list[Placed]:
        return [each for each in self._known.values() if each.is_here]

    # ---- telling --------------------------------------------------------------------------------------------

    def names(self) -> Mapping[int, str]:
        """Give the names of all that programs were attached to, by number; of those that have gone the last."""
        with self._lock:
            return {index: each.interface.name for index, each in self._known.items()}

    def describe(self) -> list[dict[str, Any]]:
        """Tell of each chosen interface how it is attached, or why not."""
        with self._lock:
            return [each.as_dict() for each in sorted(self._here(), key=lambda each: each.interface.index)]

    def since(self, number: int, most: int) -> list[Placed]:
        """Give what has become of interfaces since one of that number, the oldest first; each as it is now."""
        with self._lock:
            return list(islice((each for each in self._known.values() if each.number > number), most))

    def waits_for(self) -> tuple[str, ...]:
        """Give the patterns that no interface matches."""
        return self._choice.idle(interfaces())

    # ---- end ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Follow no more; again is fine. What is attached stays so."""
        thread, self._thread = self._thread, None
        if thread is not None:
            os.eventfd_write(self._end, 1)
            # In the thread itself it is closed by whoever was the last to hold it, for a moment: that one.
            if thread is not threading.current_thread():
                thread.join()
            os.close(self._end)
            self._end = -1
        if self._bell is not None:
            self._bell.close()
            self._bell = None

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():
            self.close()


def _follow(reference: weakref.ref[Interfaces], bell: socket.socket, end: int) -> None:
    poll = select.poll()
    poll.register(bell, select.POLLIN)
    poll.register(end, select.POLLIN)
    while (followed := reference()) is not None:
        has_looked = followed.look_again()
        del followed
        # It may have been the last reference: then everything is closed by now.
        if reference() is None or any(fd == end for fd, _ in poll.poll(None if has_looked else RETRY_MS)):
            return
        _drain(bell)


def _let_go(placed: Placed) -> str:
    """Detach; gives why that could not be, as where a filter of clsact may have stayed."""
    try:
        placed.close()
    except SondeError as error:
        return str(error)
    return ""


def _bell() -> socket.socket:
    """Open a socket that is readable when an interface has come, gone or changed; needs no privileges."""
    bell = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    bell.bind((0, RTMGRP_LINK))
    return bell


def _drain(bell: socket.socket) -> None:
    while True:
        try:
            bell.recv(DATAGRAM_BYTES)
        except BlockingIOError:
            return
        except OSError:
            # ENOBUFS: there were more messages than room, and we look anew in any case.
            continue
