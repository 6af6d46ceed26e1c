"""NumPy types from BTF: records and keys as arrays, laid out exactly as in C.

NumPy is imported when it is needed and not before: it costs more than everything else that starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.bpf.btf import (
    Array,
    BtfType,
    Enum,
    Field,
    Float,
    Int,
    Pointer,
    Struct,
    Union,
    Void,
    fields_of,
    resolve,
)
from sonde.bpf.btf.slot import slots_of
from sonde.bpf.btf.type import CHAIN_MAX, DAMAGED, SIZE_MAX
from sonde.errors import LayoutError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[Any]

_INTEGERS = (1, 2, 4, 8)
_FLOATS = (2, 4, 8)


def dtype_of(declared: BtfType | None, size: int | None = None) -> np.dtype[Any]:
    """Give the NumPy type of a C type; None, or ``void``, is ``size`` bytes (a map without BTF).

    Structs are structured types with C's offsets and size, their anonymous structs dissolved; arrays are
    subarrays, ``char[n]`` is ``S<n>``; unions, and numbers that NumPy lacks, are ``V<n>``. Neighbouring
    bit-fields are one field named by its place, ``bits_8``: an unsigned integer, or ``V<n>`` for 3, 5 or more
    bytes; ``column`` takes them apart. LayoutError where ``size``, the kernel's, is not the type's.
    """
    import numpy as np

    if declared is None or isinstance(declared, Void):
        return np.dtype(f"V{size or 0}")
    if size is not None and declared.size != size:
        raise LayoutError(f"read {declared}", why=f"BTF says {declared.size} bytes, the kernel {size}")
    try:
        return Layouts().dtype(declared)
    except (ValueError, OverflowError, UnicodeError) as error:
        raise LayoutError(f"read {declared} with NumPy", why=str(error), hint=DAMAGED) from error


def column(declared: BtfType, rows: Rows, name: str) -> Rows:
    """Give one field of an array of structs, whose type is ``declared``; of a bit-field, a new array of its values.

    Raises LayoutError when the type is no struct or has no such field.
    """
    struct = resolve(declared)
    fields = {each.name: each for each in fields_of(struct)} if isinstance(struct, Struct) else {}
    if name not in fields:
        raise LayoutError(f"take column {name} of {declared}", why=f"it has {', '.join(fields) or 'none'}")
    return _bits(fields[name], rows) if fields[name].bit_size else rows[name]


def columns(declared: BtfType, rows: Rows) -> dict[str, Rows]:
    """Give every field of an array of structs in the order of declaration, as ``column`` does."""
    struct = resolve(declared)
    if not isinstance(struct, Struct):
        raise LayoutError(
            f"take the columns of {declared}", why="it is no struct", hint="take the array itself"
        )
    return {each.name: _bits(each, rows) if each.bit_size else rows[each.name] for each in fields_of(struct)}


class Layouts:
    """Makes the NumPy types of a type and of all that it consists of, each once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._done: dict[int, np.dtype[Any]] = {}
        self._open: set[int] = set()

    def dtype(self, declared: BtfType) -> np.dtype[Any]:
        """Make the NumPy type of a type."""
        found = resolve(declared)
        if found.id in self._done:
            return self._done[found.id]
        if found.size > SIZE_MAX or found.id in self._open or len(self._open) > CHAIN_MAX:
            raise LayoutError(f"read {found}", why="it is larger than any program's data", hint=DAMAGED)
        self._open.add(found.id)
        made = self._done[found.id] = self._make(found)
        self._open.remove(found.id)
        return made

    def _make(self, found: BtfType) -> np.dtype[Any]:
        import numpy as np

        size = found.size
        match found:
            case Int(is_bool=True, size=1):
                return np.dtype(np.bool_)
            case Int(is_whole=True) | Enum() if size in _INTEGERS:
                return np.dtype(f"{'i' if found.signed else 'u'}{size}")
            case Pointer():
                return np.dtype(np.uint64)
            case Float() if size in _FLOATS:
                return np.dtype(f"f{size}")
            case Array():
                return self._array(found)
            case Struct():
                return self._struct(found)
            case Int() | Enum() | Float() | Union():
                return np.dtype(f"V{size}")
        raise LayoutError(f"read {found}", why=f"a {found.kind} has no value", hint="use a complete type")

    def _array(self, found: Array) -> np.dtype[Any]:
        import numpy as np

        element = resolve(found.element)
        if isinstance(element, Int) and element.is_char and element.size == 1:
            return np.dtype(f"S{found.count}")
        made = self.dtype(element)
        # NumPy takes S0 and V0 for "as long as need be", and makes no arrays of them.
        return np.dtype((made.base, (found.count, *made.shape))) if made.itemsize else np.dtype("V0")

    def _struct(self, found: Struct) -> np.dtype[Any]:
        import numpy as np

        fields = fields_of(found)
        names: list[str] = []
        formats: list[Any] = []
        offsets: list[int] = []
        for slot in slots_of(fields, of=str(found)):
            names.append(f"bits_{slot.offset}" if slot.is_bits else fields[slot.numbers[0]].name)
            kind = "u" if slot.size in _INTEGERS else "V"
            formats.append(f"{kind}{slot.size}" if slot.is_bits else self.dtype(fields[slot.numbers[0]].type))
            offsets.append(slot.offset)
        return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": found.size})


def _bits(field: Field, rows: Rows) -> Rows:
    """Extract a bit-field from the bytes of its struct, for all rows at once."""
    import sys

    import numpy as np

    whole = resolve(field.type)
    if not isinstance(whole, (Int, Enum)) or whole.size not in _INTEGERS:
        raise LayoutError(
            f"take column {field.name}", why=f"NumPy has no {whole}", hint="decode it with codec_of"
        )
    flat = np.ascontiguousarray(rows).reshape(-1)
    matrix = flat.view(np.uint8).reshape(len(flat), rows.dtype.itemsize)
    octets = matrix[:, field.offset : field.offset + field.size].astype(np.uint64)
    shift, bits = field.bit_offset % 8, field.bit_size
    if sys.byteorder == "big":
        octets, shift = octets[:, ::-1], 8 * field.size - shift - bits
    value = np.zeros(len(flat), np.uint64)
    for at in range(field.size):
        # The lowest byte loses the bits of the field's neighbour; a ninth byte holds the highest bits.
        place = 8 * at - shift
        value |= octets[:, at] << np.uint64(place) if place >= 0 else octets[:, at] >> np.uint64(-place)
    value &= np.uint64((1 << bits) - 1)
    if whole.signed:
        sign = np.uint64(1 << (bits - 1))
        value = ((value ^ sign) - sign).view(np.int64)
    is_bool = isinstance(whole, Int) and whole.is_bool
    made = np.bool_ if is_bool else np.dtype(f"{'i' if whole.signed else 'u'}{whole.size}")
    return value.astype(made).reshape(rows.shape)
