"""Codec of enumerations."""

from __future__ import annotations

from typing import Any

from sonde.bpf.codec.integer import IntCodec


class EnumMember(int):
    """A value of a C enumeration: an int that knows its ``name``, None where the enumeration has none for it."""

    name: str | None

    def __new__(cls, value: int, name: str | None) -> EnumMember:
        """Give ``value`` its name."""
        member = super().__new__(cls, value)
        member.name = name
        return member

    def __repr__(self) -> str:
        return f"{self.name}({int(self)})" if self.name else int.__repr__(self)

    def __str__(self) -> str:
        return self.name or int.__repr__(self)

    def __format__(self, spec: str) -> str:
        # Numbers' formats (d, x, 08b) are of the value; what else there is belongs to text.
        return format(int(self) if spec and spec[-1] in "bcdoxXneEfFgG%" else str(self), spec)

    def __reduce__(self) -> tuple[Any, ...]:
        return EnumMember, (int(self), self.name)


class EnumCodec(IntCodec):
    """Enumerations: decoded to an ``EnumMember``, encoded from one, from an int, or from a name.

    Any int of the size is taken, for C does so too, and enumerations are often flags.
    """

    loads = stores = True

    def __init__(self, label: str, size: int, values: tuple[tuple[str, int], ...], *, signed: bool) -> None:
        """Take the ``values`` by name; of two names for one number the first is shown."""
        super().__init__(size, signed=signed, label=label)
        self.values = {name: EnumMember(value, name) for name, value in values}
        self.members = {int(member): member for member in reversed(self.values.values())}

    @property
    def valid(self) -> str:
        """The names, the first dozen of them."""
        return f"{self.label} {self._names}"

    @property
    def _names(self) -> str:
        names = list(self.values)
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        return f"{', '.join(names[:12])}{more}"

    def load(self, item: int) -> EnumMember:
        """Find the member."""
        member = self.members.get(item)
        return EnumMember(item, None) if member is None else member

    def store(self, value: Any) -> int:
        """Take a name or a number."""
        if isinstance(value, str):
            if value not in self.values:
                raise self._unknown(value)
            value = self.values[value]
        return super().store(value)

    def parse(self, text: str) -> Any:
        """Read a name or a number."""
        word = text.strip()
        if word in self.values:
            return self.values[word]
        try:
            return int(word, 0)
        except ValueError:
            raise self._unknown(word) from None

    def _unknown(self, name: str) -> ValueError:
        return ValueError(f"{name!r} is no {self.label}: take one of {self._names}")
