"""The interfaces of a run that the loader holds: their names, how they are attached, and what has become of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sonde.errors import LoaderError

if TYPE_CHECKING:
    from sonde.agent.loader.loader import Loader
    from sonde.agent.loader.protocol import InterfacePlaced

LOG = logging.getLogger("sonde.agent")


class RemoteInterfaces:
    """Asks the loader what is new, whenever it is asked itself; ``name`` is what is measured, for the log.

    A loader that is lost has nothing new: its programs are detached.
    """

    def __init__(self, loader: Loader, run: int, name: str) -> None:
        self._loader, self._run, self._name = loader, run, name
        self._known: dict[int, InterfacePlaced] = {}
        self._waiting: list[str] = []
        self._last = 0

    def names(self) -> Mapping[int, str]:
        """Give the names of all that programs were attached to, by number; of those that have gone the last."""
        self._refresh()
        return {index: each.name for index, each in self._known.items()}

    def describe(self) -> list[dict[str, Any]]:
        """Tell of each chosen interface how it is attached, or why not."""
        self._refresh()
        return [
            {
                "interface": each.name,
                "ifindex": each.index,
                "ingress": each.ingress,
                "egress": each.egress,
                "note": each.note,
            }
            for each in sorted(self._known.values(), key=lambda each: each.index)
            if each.is_here
        ]

    def _refresh(self) -> None:
        try:
            while (answer := self._loader.follow(self._run, self._last)).interfaces:
                for each in answer.interfaces:
                    self._take(each)
        except LoaderError:
            return
        for pattern in answer.waiting:
            if pattern not in self._waiting:
                LOG.info("%s: %s: no interface has such a name yet", self._name, pattern)
        self._waiting = answer.waiting

    def _take(self, news: InterfacePlaced) -> None:
        from sonde.run.interfaces import KNOWN_MAX  # here, for it brings all hooks of interfaces

        before = self._known.pop(news.index, None)
        self._known[news.index] = news
        self._last = news.number
        while len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]
        if not news.is_here:
            LOG.info("%s: %s is measured no more", self._name, news.name)
        elif before is None or not before.is_here:
            from sonde.views.interfaces import interface_line

            level = logging.INFO if news.ingress or news.egress else logging.WARNING
            LOG.log(
                level, "%s: %s", self._name, interface_line([news.name], news.ingress, news.egress, news.note)
            )
        elif before.name != news.name:
            LOG.info("%s: %s is now called %s", self._name, before.name, news.name)
