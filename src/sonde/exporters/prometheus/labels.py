"""Labels of many series at once, from columns of attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, AnyStr

from sonde.exporters.prometheus.names import labels_of
from sonde.exporters.text import unambiguous

if TYPE_CHECKING:
    from sonde.records.model import Values


def label_rows(
    attributes: Mapping[str, Values], *, rows: int, write: Callable[[str, str], AnyStr], between: AnyStr
) -> list[AnyStr]:
    """Write the labels of each series: ``write`` one of them by name and value, ``between`` joins them.

    What a series has not is left out, as an empty label is none to Prometheus.
    """
    columns = [
        _written([attributes[name] for name in names], name=label, write=write, nothing=between[:0])
        for label, names in labels_of(attributes).items()
    ]
    if not columns:
        return [between[:0]] * rows
    if len(columns) == 1:
        return columns[0]
    return [between.join(filter(None, row)) for row in zip(*columns, strict=True)]


def _written(
    columns: list[Values], *, name: str, write: Callable[[str, str], AnyStr], nothing: AnyStr
) -> list[AnyStr]:
    """Write one label of all series; a text that comes again, as most do, is written once."""
    known: dict[str | None, AnyStr] = {None: nothing, "": nothing}
    found = []
    for value in _texts(columns):
        written = known.get(value)
        if written is None:
            assert value is not None
            written = known[value] = write(name, unambiguous(value))
        found.append(written)
    return found


def _texts(columns: list[Values]) -> Iterator[str | None]:
    """Give each row's value as text; where attributes share a label, theirs with ``;`` between, as OpenTelemetry says."""
    if len(columns) == 1:
        return (value if type(value) is str else text_of(value) for value in columns[0].tolist())
    return (
        ";".join(text for value in row if (text := text_of(value)) is not None) or None
        for row in zip(*(column.tolist() for column in columns), strict=True)
    )


def text_of(value: Any) -> str | None:
    """Write an attribute's value as a label's."""
    if value is None or isinstance(value, str):
        return value
    # NumPy's bool is none of Python's, and an object column may hold either.
    if type(value).__name__.startswith("bool"):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    return str(value)
