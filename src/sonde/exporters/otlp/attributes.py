"""Attributes: Python's values as OpenTelemetry's, encoded once for as long as a series is exported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue

from sonde.exporters.otlp.wire import framed, tag
from sonde.exporters.text import unambiguous
from sonde.records.metrics import OVERFLOW

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from sonde.records.metrics import Series

    Key = tuple[Any, ...]

INT64_MAX = 2**63 - 1


def any_value(value: Any) -> AnyValue:
    """Give a value as OpenTelemetry has it; what is none of its types as text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        # There is no uint64: the same bits. What is larger still is no number of the kernel's.
        if -INT64_MAX - 1 <= value <= 2 * INT64_MAX + 1:
            return AnyValue(int_value=value if value <= INT64_MAX else value - 2**64)
        return AnyValue(string_value=str(value))
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, bytes):
        return AnyValue(string_value=unambiguous(value.decode(errors="surrogateescape")))
    if isinstance(value, (list, tuple)):
        return AnyValue(array_value=ArrayValue(values=[any_value(each) for each in value]))
    return AnyValue(string_value=unambiguous(str(value)))


def key_values(attributes: Mapping[str, Any]) -> list[KeyValue]:
    """Give attributes; None is an attribute that is absent."""
    return [
        KeyValue(key=unambiguous(name), value=any_value(value))
        for name, value in attributes.items()
        if value is not None
    ]


def encode_each(tag_bytes: bytes, name: str, values: Iterable[Any]) -> list[bytes]:
    """Encode one attribute of many points or records, as fields of theirs: each different value once, None as absent."""
    known: dict[Any, bytes] = {}
    found = []
    for value in values:
        # True is 1 and 1.0 to a dictionary, and a list cannot be in one.
        each = type(value), tuple(value) if isinstance(value, list) else value
        if isinstance(value, Exact):
            value = value.value
        encoded = known.get(each)
        if encoded is None:
            pairs = key_values({name: value})
            encoded = b"".join(framed(tag_bytes, pair.SerializeToString()) for pair in pairs)
            known[each] = encoded
        found.append(encoded)
    return found


def names_of(series: Series) -> tuple[str, ...]:
    """Give the names of a metric's attributes, but the mark of the series that takes what is beyond the bound."""
    return tuple(name for name in series.attributes if name != OVERFLOW)


def keys_of(series: Series) -> list[Key]:
    """Give what tells series apart, one tuple each: the attributes by ``names_of``, then whether it is the overflow."""
    if not series.attributes:
        return [(None,)] * len(series)
    names = names_of(series)
    columns: list[Iterable[Any]] = [_listed(series.attributes[name]) for name in names]
    mark = series.attributes.get(OVERFLOW)
    columns.append(repeat(None, len(series)) if mark is None else mark.tolist())
    return list(zip(*columns, strict=True))


def _listed(column: Any) -> list[Any]:
    values: list[Any] = column.tolist()
    if column.ndim > 1:
        # Rows of an array are lists, and a list cannot be looked up.
        return [tuple(each) for each in values]
    if column.dtype == object and len({bool, int, float}.intersection(map(type, values))) > 1:
        return [Exact(type(each), each) for each in values]
    return values


class Exact(NamedTuple):
    """A value of a column that has several types of numbers: True, 1 and 1.0 are one key to a dictionary."""

    type: type
    value: Any


class AttributeCache:
    """The encoded attributes of the points of one metric, by key; it forgets what is exported no more."""

    def __init__(self, point: type[Message], names: Sequence[str]) -> None:
        """Encode for points of the type ``point``."""
        self._tag = tag(point, "attributes")
        self._names = (*names, OVERFLOW)
        self._encoded: dict[Key, bytes] = {}

    def __len__(self) -> int:
        return len(self._encoded)

    def encode(self, keys: Sequence[Key]) -> list[bytes]:
        """Give the attributes of each key as fields of a point."""
        known = self._encoded
        try:
            found = [known[key] for key in keys]
        except KeyError:
            self._learn([key for key in keys if key not in known])
            found = [known[key] for key in keys]
        # Keys that come and go (processes) must not gather.
        if len(known) > 2 * len(keys) + 100:
            self._encoded = dict(zip(keys, found, strict=True))
        return found

    def _learn(self, keys: Sequence[Key]) -> None:
        columns = [
            encode_each(self._tag, name, values)
            for name, values in zip(self._names, zip(*keys, strict=True), strict=True)
        ]
        self._encoded.update(zip(keys, map(b"".join, zip(*columns, strict=True)), strict=True))
