"""Codecs of structs and unions."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sonde.bpf.btf import Field
from sonde.bpf.btf.slot import Slot, slots_of
from sonde.bpf.codec.codec import Buffer, Codec
from sonde.bpf.codec.integer import CODES, BitsCodec
from sonde.bpf.codec.record import record_class
from sonde.bpf.codec.text import BytesCodec
from sonde.nearest import nearest

_new = tuple.__new__


class StructCodec(Codec):
    """A struct as a ``Record``; encoded from one, from a dict of all members, or from a sequence in their order.

    One call of the struct module takes the bytes apart, and only members that need it are converted after that.
    """

    loads = stores = True

    def __init__(self, label: str, name: str, size: int, fields: Sequence[tuple[Field, Codec]]) -> None:
        """Join the codecs of all members, bit-fields as ``Codec`` of their declared type."""
        super().__init__(label, size, f"{size}s")
        self.names = tuple(field.name for field, _ in fields)
        self.record = record_class(name, self.names)
        self.weight = 1 + sum(codec.weight for _, codec in fields)
        slots = slots_of([field for field, _ in fields], of=label)
        codecs = {
            number: _bits_of(*fields[number], slot) if slot.is_bits else fields[number][1]
            for slot in slots
            for number in slot.numbers
        }
        places = {number: at for at, slot in enumerate(slots) for number in slot.numbers}
        self.codecs = tuple(codecs[number] for number in range(len(fields)))
        self._layout = struct.Struct("=" + _format(label, size, slots, codecs))
        self._blank: list[Any] = [0] * len(slots)
        # Bit-fields in 3, 5 or more bytes are bytes to the struct module; encoding gathers them as an integer.
        self._wide = [
            (at, slot.size) for at, slot in enumerate(slots) if slot.is_bits and slot.size not in CODES
        ]
        self._load = [(places[number], _loader(codec)) for number, codec in enumerate(self.codecs)]
        self._store = [(places[number], codec) for number, codec in enumerate(self.codecs)]
        # Mostly members and slots are the same, one by one, and few members need any conversion.
        self._straight = [place for place, _ in self._load] == list(range(len(slots)))
        self._loads = [(at, load) for at, load in self._load if load]
        self._stores = [(at, codec.store) for at, codec in self._store if codec.stores]
        self._straight_store = self._straight and not any(slot.is_bits for slot in slots)

    @property
    def valid(self) -> str:
        """Its members."""
        return f"{self.label} of {', '.join(self.names)}"

    def decode(self, data: Buffer) -> Any:
        """Turn exactly ``size`` bytes into a Record; LayoutError for any other number of bytes."""
        try:
            items = self._layout.unpack(data)
        except struct.error:
            raise self._wrong_size(data) from None
        if not self._straight:
            return _new(self.record, [load(items[at]) if load else items[at] for at, load in self._load])
        if not self._loads:
            return _new(self.record, items)
        values = list(items)
        for at, convert in self._loads:
            values[at] = convert(values[at])
        return _new(self.record, values)

    def load(self, item: Buffer) -> Any:
        """Decode it as part of another struct."""
        return self.decode(item)

    def encode(self, value: Any) -> bytes:
        """Turn a Record, a dict or a sequence into bytes; ValueError or TypeError name the member that is wrong."""
        values = value if type(value) is self.record else self._values(value)
        try:
            return self._layout.pack(
                *(self._items(values) if self._straight_store else self._gathered(values))
            )
        except (struct.error, OverflowError, TypeError, ValueError) as error:
            raise self._blame(values) or error from None

    def _items(self, values: Sequence[Any]) -> Sequence[Any]:
        if not self._stores:
            return values
        items = list(values)
        for at, convert in self._stores:
            items[at] = convert(items[at])
        return items

    def _gathered(self, values: Sequence[Any]) -> Sequence[Any]:
        """Bring bit-fields together in their slots, and members into the order of their offsets."""
        items = self._blank.copy()
        for (at, codec), each in zip(self._store, values, strict=True):
            if isinstance(codec, BitsCodec) and codec.shared:
                items[at] |= codec.insert(each)
            else:
                items[at] = codec.store(each) if codec.stores else each
        for at, size in self._wide:
            items[at] = items[at].to_bytes(size, sys.byteorder)
        return items

    def store(self, value: Any) -> bytes:
        """Encode it as part of another struct."""
        return self.encode(value)

    def _values(self, value: Any) -> Sequence[Any]:
        if hasattr(value, "dtype") and hasattr(value, "item"):
            value = value.item()  # a row of a NumPy array
        if isinstance(value, Mapping):
            for name in value:
                if name not in self.names:
                    near = nearest(str(name), self.names) or self.names
                    raise ValueError(f"{self.label} has no {name}: did you mean {' or '.join(near)}?")
            missing = [name for name in self.names if name not in value]
            if missing:
                raise ValueError(f"{', '.join(missing)} is missing: {self.label} takes all its members")
            return [value[name] for name in self.names]
        if not isinstance(value, (tuple, list)):
            raise TypeError(
                f"{value!r} is no {self.label}: give a dict or a tuple of {', '.join(self.names)}"
            )
        if len(value) != len(self.names):
            raise ValueError(
                f"{len(value)} values for {len(self.names)} members: {self.label} takes {', '.join(self.names)}"
            )
        return value

    def _blame(self, values: Sequence[Any]) -> Exception | None:
        """Find the member whose value is wrong."""
        for name, codec, value in zip(self.names, self.codecs, values, strict=True):
            try:
                codec.store(value)
            except TypeError as error:
                return TypeError(f"{name}: {error}")
            except ValueError as error:
                return ValueError(f"{name}: {error}")
        return None


class UnionCodec(BytesCodec):
    """Unions: bytes, since only the program knows which member is the true one; ``members`` decode them.

    Encoded from bytes, or from a dict with one member; the bytes that this member does not cover are zeros.
    """

    def __init__(self, label: str, size: int, members: Mapping[str, Codec]) -> None:
        """Take ``size`` bytes, any of the ``members``."""
        super().__init__(size, label=label)
        self.members = members

    def store(self, value: Any) -> bytes:
        """Take bytes or one member."""
        if not isinstance(value, Mapping):
            return super().store(value)
        if len(value) != 1 or next(iter(value)) not in self.members:
            raise ValueError(f"{value!r} is no {self.label}: give one of {', '.join(self.members)}")
        ((name, inner),) = value.items()
        return self.members[name].encode(inner)


def _format(label: str, size: int, slots: Sequence[Slot], codecs: Mapping[int, Codec]) -> str:
    position, parts = 0, []
    for slot in slots:
        code = CODES.get(slot.size, f"{slot.size}s") if slot.is_bits else codecs[slot.numbers[0]].code
        parts.append(f"{slot.offset - position}x{code}")
        position = slot.offset + slot.size
    return "".join(parts) + f"{size - position}x"


def _bits_of(field: Field, inner: Codec, slot: Slot) -> BitsCodec:
    return BitsCodec(inner, slot.size, bits=field.bit_size, shift=slot.shift_of(field), shared=True)


def _loader(codec: Codec) -> Callable[[Any], Any] | None:
    if isinstance(codec, BitsCodec) and codec.shared and codec.size in CODES:
        return codec.extract
    return codec.load if codec.loads else None
