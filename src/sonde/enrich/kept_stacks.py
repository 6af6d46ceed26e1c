"""Stacks that were written out, kept by a key of whoever wrote them, each text once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sonde.records.frames import Written

KEY_BYTES, TEXT_BYTES = 300, 400
"""What a key takes, and a text beside its characters, with their places in dictionaries."""


class KeptStacks:
    """Written stacks by key, within ``bytes_max``, which ``trim`` keeps; those that are alike are one object.

    A thousand processes of one program are in a few hundred places.
    """

    def __init__(self, bytes_max: int) -> None:
        self._kept: dict[Any, Written] = {}
        # Each text, and how many keys have it.
        self._texts: dict[Written, tuple[Written, int]] = {}
        self._bytes, self.bytes_max = 0, bytes_max

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Any) -> Written | None:
        return self._kept.get(key)

    def put(self, key: Any, value: Written) -> Written:
        """Keep a stack, and give the one object of those that are like it."""
        if key in self._kept:
            return self._kept[key]
        text, keys = self._texts.get(value, (value, 0))
        self._texts[text] = text, keys + 1
        self._kept[key] = text
        self._bytes += KEY_BYTES + (0 if keys else _size(text))
        return text

    def trim(self, least_first: Callable[[], Iterable[Any]] = tuple) -> None:
        """Forget what does not fit: the oldest first of what is not among ``least_first``, then those in their order."""
        if self._bytes <= self.bytes_max:
            return
        last = dict.fromkeys(least_first())
        for key in [*(key for key in self._kept if key not in last), *last]:
            if self._bytes <= self.bytes_max:
                return
            if key in self._kept:
                self._forget(key)

    def _forget(self, key: Any) -> None:
        text, keys = self._texts[self._kept.pop(key)]
        self._bytes -= KEY_BYTES
        if keys > 1:
            self._texts[text] = text, keys - 1
        else:
            del self._texts[text]
            self._bytes -= _size(text)


def _size(text: Written) -> int:
    return TEXT_BYTES + sum(map(len, text))
