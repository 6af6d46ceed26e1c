"""Names of network interfaces, from their numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonde.records.model import RecordBatch

IFINDEX = "sonde_ifindex_t"
"""The typedef of an interface's number, 0 for none: probes/_include/types.bpf.h."""

REMEMBERED_MAX = 4096


def names_here() -> Mapping[int, str]:
    """Give number → name in this network namespace, now."""
    import socket

    try:
        return dict(socket.if_nameindex())
    except OSError:
        # It asks by netlink, which a hardened unit may not allow.
        return names_in_sysfs()


def names_in_sysfs() -> Mapping[int, str]:
    """Give number → name as /sys has them: of the namespace that it was mounted in."""
    from pathlib import Path

    found: dict[int, str] = {}
    for each in Path("/sys/class/net").glob("*/ifindex"):
        try:
            found[int(each.read_text())] = each.parent.name
        except OSError:  # it has gone meanwhile
            continue
    return found


class InterfaceNames:
    """Adds ``interface`` for a column ``ifindex`` (``NAME_interface`` for ``NAME_ifindex``): the newest name.

    An interface that has gone keeps its last name. The kernel gives a number again only after all others, or where
    somebody asks for it: then its rows get the name of the one that has it now. Two that had the same name one after
    the other are two rows. ``known`` gives names by number; where none is known it is ``if4711``.
    """

    def __init__(self, known: Callable[[], Mapping[int, str]] = names_here) -> None:
        self._known = known
        self._names: dict[int, str] = {}

    def __call__(self, batch: RecordBatch) -> RecordBatch:
        """Give the batch with names."""
        columns = batch.schema.having(IFINDEX)
        if not columns:
            return batch
        import numpy as np

        self._refresh()
        added: dict[str, Any] = {}
        for column in columns:
            indexes = np.asarray(batch[column.name])
            different, where = np.unique(indexes, return_inverse=True)
            names = np.array([self._name(index) for index in different.tolist()], dtype=object)
            texts = names[where] if len(names) else np.empty(0, dtype=object)
            added[named(column.name)] = np.ma.masked_array(texts, mask=indexes == 0)
        return batch.adding(added)

    def _refresh(self) -> None:
        for index, name in self._known().items():
            self._names.pop(index, None)
            self._names[index] = name
        while len(self._names) > REMEMBERED_MAX:
            del self._names[next(iter(self._names))]

    def _name(self, index: int) -> str:
        return self._names.get(index, f"if{index}")


def named(column: str) -> str:
    """Name the column of names: ``interface`` beside ``ifindex``."""
    return (
        column.removesuffix("ifindex") + "interface" if column.endswith("ifindex") else f"{column}_interface"
    )
