"""Keys: what a field of the configuration is called, takes, and means."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sonde.agent.config.kind import HarmlessError, Kind, Pairs

Path = tuple[str, ...]
"""A key with the tables that it is in: ``("otlp", "endpoint")``."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its ``kind``, its ``default`` (None: unset), what it means in a sentence, an ``example`` in TOML.

    ``field`` is the attribute that holds it, whose name has the unit. A secret's value is shown nowhere.
    """

    name: str
    field: str
    kind: Kind
    default: Any
    text: str
    example: str = ""
    is_secret: bool = False

    def read(self, value: object, *, is_text: bool = False) -> Any:
        """Read a value; raises ValueError with a reason, in which a secret is not told."""
        try:
            return self.kind.read_text(value) if is_text and isinstance(value, str) else self.kind.read(value)
        except ValueError as error:
            if self.is_secret and not isinstance(error, HarmlessError):
                raise ValueError(f"it is wrong: give {self.kind.valid}") from None
            raise


def key(
    kind: Kind, default: Any, text: str, *, name: str = "", example: str = "", secret: bool = False
) -> Any:
    """Declare a field of a section; ``name`` is the key's where the field's has a unit."""
    metadata = {"key": Key(name, "", kind, default, text, example, secret)}
    if isinstance(kind, Pairs):
        return dataclasses.field(default_factory=dict, repr=not secret, metadata=metadata)
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


def keys_of(kind: type[Any], path: Path = ()) -> dict[Path, Key]:
    """Find all keys of a section, and of those in it, by their path: fields made by another dataclass are sections."""
    found: dict[Path, Key] = {}
    for each in dataclasses.fields(kind):
        declared: Key | None = each.metadata.get("key")
        if declared is not None:
            named = dataclasses.replace(declared, name=declared.name or each.name, field=each.name)
            found[(*path, named.name)] = named
        elif inner := _section(each):
            found |= keys_of(inner, (*path, each.name))
    return found


def built(kind: type[Any], values: Mapping[Path, Any], path: Path = ()) -> Any:
    """Make a section, and those in it, of the values of its keys; the rest has its default."""
    given: dict[str, Any] = {}
    for name, declared in keys_of(kind, path).items():
        if name[:-1] == path and name in values:
            given[declared.field] = values[name]
    for each in dataclasses.fields(kind):
        if inner := _section(each):
            given[each.name] = built(inner, values, (*path, each.name))
    return kind(**given)


def _section(field: dataclasses.Field[Any]) -> type[Any] | None:
    made_by = field.default_factory
    return made_by if isinstance(made_by, type) and dataclasses.is_dataclass(made_by) else None


def dotted(path: Path) -> str:
    """Write a path as TOML does; what a terminal would obey, or a bare key cannot hold, in quotes."""
    return ".".join(part if part.replace("-", "").replace("_", "").isalnum() else repr(part) for part in path)
