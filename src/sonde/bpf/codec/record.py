"""The value of a C struct in Python: a tuple with names."""

from __future__ import annotations

from collections import namedtuple
from functools import lru_cache
from typing import Any, ClassVar

# What namedtuple's attributes are: they read a tuple's item in C, ten times as fast as a property.
_Getter: Any = type(vars(namedtuple("_Sample", ["item"]))["item"])


class Record(tuple[Any, ...]):
    """One struct's value: a tuple whose items have names too, ``record.pid`` or ``record["pid"]``.

    It compares and hashes as the plain tuple does, so ``counts[(1, 2)]`` finds what ``counts[record]`` stored. A
    member of C with a name that Python keeps to itself (``class``, ``__len__``) is found by item only.
    """

    __slots__ = ()
    __fields__: ClassVar[dict[str, int]] = {}

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return tuple.__getitem__(self, self.__fields__[key])
        return tuple.__getitem__(self, key)

    def __repr__(self) -> str:
        pairs = ", ".join(f"{name}={value!r}" for name, value in zip(self.__fields__, self, strict=True))
        return f"{type(self).__name__}({pairs})"

    def __reduce__(self) -> tuple[Any, ...]:
        # The class is made at run time, so pickle has to be told how to make it again.
        return _restore, (type(self).__name__, tuple(self.__fields__), tuple(self))


@lru_cache(maxsize=4096)
def record_class(name: str, fields: tuple[str, ...]) -> type[Record]:
    """Make the class for a struct of this name and these members; the same ones give the same class."""
    namespace: dict[str, Any] = {"__slots__": (), "__fields__": {each: at for at, each in enumerate(fields)}}
    for at, each in enumerate(fields):
        if each.isidentifier() and not (each.startswith("__") and each.endswith("__")):
            namespace[each] = _Getter(at, f"Member {at}.")
    # A class's name has to be encodable; damaged BTF may have others.
    return type(name.encode("utf-8", "replace").decode(), (Record,), namespace)


def as_dict(value: Any) -> Any:
    """Turn records into dicts, all the way down, as for JSON; other values stay as they are."""
    if isinstance(value, Record):
        return {name: as_dict(item) for name, item in zip(value.__fields__, value, strict=True)}
    if isinstance(value, tuple):
        return [as_dict(item) for item in value]
    return value


def _restore(name: str, fields: tuple[str, ...], values: tuple[Any, ...]) -> Record:
    return record_class(name, fields)(values)
