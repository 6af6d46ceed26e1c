"""What a column is in a capture: NumPy's arrays as Arrow's buffers, and back."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from sonde.errors import LayoutError
from sonde.records.capture.text import Decoded, Encoded

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sonde.records.model import Values

    Array = npt.NDArray[Any]

Buffer = Any
"""Contiguous bytes of anything; None for a validity bitmap where everything is known."""

TEXT, BYTES, BOOL, TIME = "text", "bytes", "bool", "time"
NUMBERS = frozenset(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)) | {
    "float32",
    "float64",
}
BYTES_MAX = LIST_MAX = 65_536


class Kind(msgspec.Struct, frozen=True, omit_defaults=True):
    """The type of a column: a number of NumPy's, ``bool``, ``time`` (ns since 1970), ``text``, or ``bytes`` (``width`` of them).

    ``list_size`` numbers make a row where it is not 0, as of a histogram's buckets.
    """

    type: str
    width: int = 0
    list_size: int = 0

    @property
    def is_valid(self) -> bool:
        """Tell whether there can be such a column."""
        if self.type == BYTES:
            return 0 < self.width <= BYTES_MAX and not self.list_size
        if self.list_size:
            return self.type in NUMBERS and 0 < self.list_size <= LIST_MAX
        return self.type in NUMBERS or self.type in (TEXT, BOOL, TIME)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Give NumPy's type, little-endian as the file is."""
        import numpy as np

        if self.type == TEXT:
            return np.dtype(object)
        if self.type == BYTES:
            return np.dtype(f"S{self.width}")
        return np.dtype({TIME: "int64", BOOL: "bool"}.get(self.type, self.type)).newbyteorder("<")


def kind_of(name: str, values: Values) -> Kind:
    """Find the kind of a column; raises LayoutError for one that a capture cannot hold."""
    kind, dtype = values.dtype.kind, values.dtype
    found: Kind | None = None
    if values.ndim == 1 and kind in "OU":
        found = Kind(TEXT)
    elif values.ndim == 1 and kind == "S":
        found = Kind(BYTES, width=dtype.itemsize)
    elif values.ndim == 1 and kind == "b":
        found = Kind(BOOL)
    elif values.ndim == 1 and name == TIME and dtype == "int64":
        found = Kind(TIME)
    elif values.ndim == 1 or (values.ndim == 2 and values.shape[1]):
        found = Kind(dtype.newbyteorder("=").name, list_size=values.shape[1] if values.ndim == 2 else 0)
    if found is None or not found.is_valid:
        why = f"column {name} is an array of {dtype} with {values.ndim} dimensions"
        raise LayoutError("write a capture", why=why, hint="columns are numbers, lists of them, or text")
    return found


# ---- to buffers ---------------------------------------------------------------------------------------------


def buffers_of(name: str, values: Values, kind: Kind, words: Encoded) -> list[Buffer]:
    """Give a column's buffers in Arrow's order; raises LayoutError when it is not of that kind."""
    try:
        if kind.type == TEXT:
            return _text_buffers(values, words)
        return _plain_buffers(values, kind)
    except (TypeError, ValueError) as error:
        raise LayoutError("write a capture", why=f"column {name} was {kind.type}: {error}") from error


def _plain_buffers(values: Values, kind: Kind) -> list[Buffer]:
    import numpy as np

    data = np.ma.getdata(values)
    shape = (len(data), kind.list_size) if kind.list_size else (len(data),)
    if data.shape != shape:
        raise ValueError(f"its shape is {data.shape}")
    mask = np.ma.getmask(values)
    validity = None if mask is np.ma.nomask or not mask.any() else bitmap(~np.broadcast_to(mask, shape))
    if kind.type == BOOL:
        return [validity, bitmap(data)]
    flat = np.ascontiguousarray(data.astype(kind.dtype, casting="same_kind", copy=False)).reshape(-1)
    found = [validity, flat.view(np.uint8)]
    return [None, *found] if kind.list_size else found


def _text_buffers(values: Values, words: Encoded) -> list[Buffer]:
    import numpy as np

    data, mask = np.ma.getdata(values), np.ma.getmask(values)
    known: Any = np.ones(len(data), dtype=bool) if mask is np.ma.nomask else ~mask
    texts = data.tolist() if known.all() else data[known].tolist()
    lengths = np.zeros(len(data), np.int64)
    raw, lengths[known] = _joined(texts, words)
    offsets = np.zeros(len(data) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if offsets[-1] >= 1 << 31:
        raise ValueError("it has more than 2 GiB of text in one batch")
    if None in words:
        known &= np.not_equal(data, np.array(None, dtype=object)).astype(bool)
    return [None if known.all() else bitmap(known), offsets.astype("<i4").view(np.uint8), raw]


def _joined(texts: list[Any], words: Encoded) -> tuple[bytes, Any]:
    """Encode texts, one behind the other, and give the length of each; all of it is C, no Python runs per record."""
    import numpy as np

    if not texts:
        return b"", 0
    if texts.count(texts[0]) == len(texts):
        # Of one process, or of one call: as a rule, where a selection was made.
        only = words[texts[0]]
        return only * len(texts), len(only)
    raw = list(map(words.__getitem__, texts))
    return b"".join(raw), np.fromiter(map(len, raw), np.int64, len(raw))


def bitmap(bits: Array) -> Array:
    """Pack booleans as Arrow does."""
    import numpy as np

    return np.packbits(np.asarray(bits, dtype=bool).reshape(-1), bitorder="little")


# ---- from buffers -------------------------------------------------------------------------------------------

Take = Callable[[int | None], memoryview]
"""Gives the next buffer, cut to a size (None: whole); raises ValueError when it is smaller."""


def values_from(kind: Kind, length: int, take: Take, words: Decoded) -> Values:
    """Make a column of its next buffers; raises ValueError for buffers that cannot be one's."""
    import numpy as np

    if kind.list_size:
        take(0)
    count = length * (kind.list_size or 1)
    validity = take(None)
    values: Any
    if kind.type == TEXT:
        values = _texts_from(length, take, words)
    elif kind.type == BOOL:
        values = unpacked(take(-(-length // 8)), length)
    else:
        values = np.frombuffer(take(count * kind.dtype.itemsize), kind.dtype)
    mask = ~unpacked(validity, count) if len(validity) else None
    if kind.list_size:
        values = values.reshape(length, kind.list_size)
        mask = mask.reshape(values.shape) if mask is not None else None
    return values if mask is None else np.ma.masked_array(values, mask=mask)


def _texts_from(length: int, take: Take, words: Decoded) -> Array:
    import numpy as np

    offsets = np.frombuffer(take(4 * (length + 1)), "<i4")
    data = bytes(take(None))
    if (np.diff(offsets) < 0).any() or offsets[0] < 0 or offsets[-1] > len(data):
        raise ValueError("offsets of a text lie outside of it")
    ends = offsets.tolist()
    found = np.empty(length, dtype=object)
    found[:] = [words[data[start:end]] for start, end in itertools.pairwise(ends)]
    return found


def unpacked(bits: memoryview, count: int) -> Array:
    """Unpack Arrow's booleans; raises ValueError where there are fewer."""
    import numpy as np

    found = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little", count=count)
    if len(found) != count or 8 * len(bits) < count:
        raise ValueError("a bitmap is too short")
    return found.astype(bool)
