"""What is in a map now: its entries as values, and as a table for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sonde.bpf.codec.enum import EnumMember
from sonde.bpf.codec.record import Record, as_dict
from sonde.bpf.codec.text import CutText
from sonde.errors import KernelError, SondeError
from sonde.views import cell
from sonde.views.column import IDENTIFIERS
from sonde.views.line import Line
from sonde.views.table import grid

if TYPE_CHECKING:
    from sonde.bpf.map import Map

_KEY = "key"
_CELL_WIDTH_MAX = 64


@dataclass(frozen=True, slots=True)
class Entries:
    """A map at one moment: pairs of decoded keys and values; ``note`` says what else there is to know.

    ``hidden`` entries of an array are zero and left out.
    """

    name: str
    type: str
    capacity: int
    pairs: list[tuple[Any, Any]]
    note: str = ""
    hidden: int = 0

    def draw(self, *, limit: int = 0) -> list[Line]:
        """Draw a heading and a table, the largest numbers first, of at most ``limit`` entries (0: all)."""
        head: Line = [(self.name, "bold"), (f"  {self._kind()}", "dim")]
        if not self.pairs:
            return [head]
        pairs = sorted(self.pairs, key=_weight, reverse=True) if not self.is_ordered else self.pairs
        shown = pairs[:limit] if limit else pairs
        rows = [_row(key, value) for key, value in shown]
        titles = list(dict.fromkeys(name for row in rows for name in row))
        right = [all(_is_number(row.get(name)) for row in rows) for name in titles]
        cells = [[_short(row.get(name), name) for name in titles] for row in rows]
        lines = [
            head,
            *(_indented(line) for line in grid([name.upper() for name in titles], cells, right=right)),
        ]
        if len(shown) < len(pairs):
            lines.append([(f"  … {len(pairs) - len(shown):,} more entries (--limit 0 shows all)", "dim")])
        return lines

    @property
    def is_ordered(self) -> bool:
        """Tell whether the order of its entries means something."""
        return "array" in self.type or self.type in ("queue", "stack")

    def _kind(self) -> str:
        if self.note:
            return f"{self.type}: {self.note}"
        zeros = f", {self.hidden:,} more are zero" if self.hidden else ""
        return f"{self.type}, {len(self.pairs):,} of {self.capacity:,}{zeros}"

    def rows(self) -> list[dict[str, Any]]:
        """Give the entries as machines get them."""
        return [
            {"map": self.name, "key": machine_value(key), "value": machine_value(value)}
            for key, value in self.pairs
        ]


def entries_of(each: Map) -> Entries:
    """Read a map; per-CPU values are added up. What cannot be read is told in the note."""
    reader = _READERS.get(each.type)
    if reader is None:
        return Entries(
            each.name, each.type, each.max_entries, [], note=_UNREADABLE.get(each.type, "not readable")
        )
    try:
        pairs = reader(each)
    except (SondeError, OSError) as error:
        why = error.why if isinstance(error, KernelError) else str(error)
        return Entries(each.name, each.type, each.max_entries, [], note=f"cannot be read: {why}")
    if "array" not in each.type:
        return Entries(each.name, each.type, each.max_entries, pairs)
    kept = [(key, value) for key, value in pairs if not _is_zero(value)]
    return Entries(each.name, each.type, each.max_entries, kept, hidden=len(pairs) - len(kept))


def _items(each: Any) -> list[tuple[Any, Any]]:
    return list(each.items())


def _totals(each: Any) -> list[tuple[Any, Any]]:
    return list(each.totals().items())


def _inner(each: Any) -> list[tuple[Any, Any]]:
    pairs = []
    for key, inner in each.items():
        with inner:
            pairs.append(
                (key, f"map {inner.id}, {inner.type}, {len(_READERS[inner.type](inner))} entries")
                if inner.type in _READERS
                else (key, f"map {inner.id}, {inner.type}")
            )
    return pairs


def _next(each: Any) -> list[tuple[Any, Any]]:
    try:
        return [("next", each.peek())]
    except IndexError:
        return []


_READERS: dict[str, Callable[[Any], list[tuple[Any, Any]]]] = {
    **dict.fromkeys(("hash", "lru_hash", "array", "lpm_trie", "prog_array"), _items),
    **dict.fromkeys(("percpu_hash", "lru_percpu_hash", "percpu_array"), _totals),
    **dict.fromkeys(("hash_of_maps", "array_of_maps"), _inner),
    # Reading more of them than the next would take it away from whoever it is for.
    **dict.fromkeys(("queue", "stack"), _next),
}

_UNREADABLE = {
    "ringbuf": "its records are shown as they come",
    "perf_event_array": "its records are shown as they come",
    "user_ringbuf": "is written by user space",
    "bloom_filter": "does not list what it holds",
    "cgroup_array": "is not read back by the kernel",
    "task_storage": "is read with a process's descriptor",
    "sk_storage": "is read with a socket",
    "inode_storage": "is read with a file",
    "cgrp_storage": "is read with a cgroup's descriptor",
    "stack_trace": "stacks, which are read by number",
    "arena": "memory shared with programs",
    "struct_ops": "functions of the kernel",
}


def machine_value(value: Any) -> Any:
    """Give any decoded value as JSON has it: structs as objects, bytes in hexadecimal, enumerations by name."""
    if isinstance(value, dict):
        return {name: machine_value(item) for name, item in value.items()}
    if isinstance(value, list):
        return [machine_value(item) for item in value]
    if isinstance(value, tuple):
        return machine_value(as_dict(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, EnumMember):
        return value.name or int(value)
    return str(value) if isinstance(value, CutText) else value


def _is_zero(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(_is_zero(each) for each in value)
    if isinstance(value, (bytes, str)):
        return not value.strip(b"\0" if isinstance(value, bytes) else "\0")  # type: ignore[arg-type]
    return not value


def _weight(pair: tuple[Any, Any]) -> float:
    """Order by the first number of the value."""
    value = pair[1]
    while isinstance(value, (tuple, list)) and value:
        value = next((each for each in value if isinstance(each, (int, float, tuple))), 0)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _row(key: Any, value: Any) -> dict[str, Any]:
    """Give a struct's members as columns of their own; a name that both key and value have is told apart."""
    keys, values = _members(key, _KEY), _members(value, "value")
    both = set(keys) & set(values)
    return {
        **{f"{_KEY}.{name}" if name in both else name: item for name, item in keys.items()},
        **{f"value.{name}" if name in both else name: item for name, item in values.items()},
    }


def _members(value: Any, name: str) -> dict[str, Any]:
    return dict(zip(value.__fields__, value, strict=True)) if isinstance(value, Record) else {name: value}


def _short(value: Any, name: str) -> str:
    if value is None:
        return cell.UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if _is_number(value):
        # Keys are numbers of things; values are how many.
        return (
            str(value) if name == _KEY or name in IDENTIFIERS or type(value) is not int else cell.count(value)
        )
    words = value_text(value)
    return words if len(words) <= _CELL_WIDTH_MAX else words[: _CELL_WIDTH_MAX - 1] + "…"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not hasattr(value, "name")


def value_text(value: Any) -> str:
    """Write any decoded value in one line."""
    if isinstance(value, Record):
        parts = [f"{name}={value_text(item)}" for name, item in zip(value.__fields__, value, strict=True)]
        return f"{{{', '.join(parts)}}}"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(value_text(item) for item in value)}]"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex(" ")
    return cell.text(value)


def _indented(line: Line) -> Line:
    return [("  ", ""), *line]
