"""Schemas from BTF: the columns of a C record, and what its typedefs say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.bpf.btf import Array, Btf, BtfType, Pointer, Struct, Typedef, Var, resolve
from sonde.errors import LayoutError
from sonde.records.model import Column

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PADDING = "padding"
"""Members of this name, or that begin with it, fill holes and are no columns."""

INTERNAL = frozenset({"sonde_cell_t"})
"""Meanings of members that are between the programs and the source, and no columns."""


def meaning_of(kind: BtfType) -> str:
    """Give the first typedef of ours (``sonde_…_t``) on the way from a type to what it is; arrays by element."""
    step: BtfType = kind
    while True:
        if isinstance(step, Typedef) and step.name.startswith("sonde_"):
            return step.name
        if isinstance(step, Array):
            step = step.element
        elif hasattr(step, "target") and step is not resolve(step):
            step = step.target
        else:
            return ""


def record_of(btf: Btf, stream: str) -> Struct | None:
    """Find the struct of a stream's records: the pointer ``STREAM__record`` has its type (stream.bpf.h).

    (A ring-buffer map cannot say it: the kernel refuses one that declares its value's type.)
    """
    marker = btf.find(f"{stream}__record", Var)
    pointer = resolve(marker) if marker is not None else None
    record = resolve(pointer.target) if isinstance(pointer, Pointer) else None
    return record if isinstance(record, Struct) else None


def columns_of(record: BtfType, *, is_key: bool = False) -> tuple[Column, ...]:
    """Give the columns of a C struct, in order; raises LayoutError if it is none, or nests another."""
    struct = resolve(record)
    if not isinstance(struct, Struct):
        raise LayoutError(f"read the columns of {record}", why="it is no struct", hint="declare one in C")
    columns = []
    for member in struct.members:
        if not member.name or member.name.startswith(PADDING) or meaning_of(member.type) in INTERNAL:
            continue
        if isinstance(resolve(member.type), Struct):
            raise LayoutError(
                f"read the columns of {record}", why=f"{member.name} is a struct", hint="records are flat"
            )
        columns.append(Column(member.name, meaning_of(member.type), is_key))
    return tuple(columns)


def split(array: npt.NDArray[Any], columns: tuple[Column, ...]) -> dict[str, npt.NDArray[np.generic]]:
    """Give each column of a structured array: views, nothing is copied."""
    return {column.name: array[column.name] for column in columns}


def narrow(member: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give a member, unsigned numbers in the narrowest type that holds them all."""
    import numpy as np

    if member.dtype.kind != "u":
        return member
    return member.astype(np.min_scalar_type(int(member.max(initial=0))))
