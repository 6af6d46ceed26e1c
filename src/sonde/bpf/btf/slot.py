"""Where a struct keeps its fields: bytes of one field, or bytes that neighbouring bit-fields share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from sonde.bpf.btf.field import Field
from sonde.bpf.btf.type import DAMAGED
from sonde.errors import LayoutError


@dataclass(frozen=True, slots=True)
class Slot:
    """``size`` bytes at ``offset`` that hold one field, or bit-fields only; ``numbers`` says which ones."""

    offset: int
    size: int
    is_bits: bool
    numbers: tuple[int, ...]

    def shift_of(self, field: Field) -> int:
        """Tell how far a bit-field lies above the lowest bit, when the bytes are read as one integer."""
        shift = field.bit_offset - 8 * self.offset
        return shift if sys.byteorder == "little" else 8 * self.size - shift - field.bit_size


def slots_of(fields: Sequence[Field], *, of: str) -> list[Slot]:
    """Lay fields out in the order of their offsets; LayoutError, naming the struct, where two overlap."""
    slots: list[Slot] = []
    end = 0
    for number in sorted(range(len(fields)), key=lambda number: (fields[number].offset, fields[number].size)):
        field = fields[number]
        if field.offset >= end or not slots:
            slots.append(Slot(field.offset, field.size, bool(field.bit_size), (number,)))
        elif field.bit_size and slots[-1].is_bits:
            last = slots[-1]
            size = max(last.size, field.offset + field.size - last.offset)
            slots[-1] = Slot(last.offset, size, True, (*last.numbers, number))
        else:
            raise LayoutError(f"read {of}", why=f"{field.name} overlaps another member", hint=DAMAGED)
        end = slots[-1].offset + slots[-1].size
    return slots
