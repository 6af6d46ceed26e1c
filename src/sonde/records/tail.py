"""Records that end in a text of any length: their C struct's last member is an array without one (sonde_text_t)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.bpf.btf import Array, BtfType, Struct, resolve
from sonde.errors import LayoutError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sonde.bpf.ringbuf import Records
    from sonde.records.model import Values


def tail_of(record: BtfType) -> str:
    """Name the member that is as long as the record is; empty where records are of one length."""
    struct = resolve(record)
    if not isinstance(struct, Struct) or not struct.members:
        return ""
    last = struct.members[-1]
    kind = resolve(last.type)
    return last.name if isinstance(kind, Array) and kind.count == 0 else ""


def heads_of(records: Records, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Give what comes before the text as a structured array; raises LayoutError where a record is shorter."""
    import numpy as np

    if not len(records):
        return np.empty(0, dtype)
    if int(records.lengths.min()) < dtype.itemsize:
        why = f"a record is {records.lengths.min()} bytes long, of which its type needs {dtype.itemsize}"
        raise LayoutError("read records with a text", why=why)
    return _pieces(records.data, records.offsets, dtype.itemsize).view(dtype).reshape(-1)


def texts_of(records: Records, head_bytes: int) -> Values:
    """Give the texts, each different one decoded once (undecodable bytes survive as surrogates); masked where empty."""
    import numpy as np

    lengths = records.lengths.astype(np.int64) - head_bytes
    having = np.flatnonzero(lengths > 0)
    texts = np.full(len(records), None, dtype=object)
    if len(having):
        width = int(lengths[having].max())
        pieces = _pieces(records.data, records.offsets[having] + np.uint64(head_bytes), width)
        pieces[np.arange(width) >= lengths[having][:, None]] = 0
        different, index = np.unique(pieces.view(f"S{width}").reshape(-1), return_inverse=True)
        decoded = [text.decode(errors="surrogateescape") for text in different.tolist()]
        texts[having] = np.array(decoded, dtype=object)[index]
    return np.ma.masked_array(texts, mask=lengths <= 0)


def _pieces(data: npt.NDArray[np.uint8], offsets: npt.NDArray[Any], width: int) -> npt.NDArray[np.uint8]:
    """Copy ``width`` bytes from each offset, zeros beyond the end, into a matrix."""
    import numpy as np

    padded = data
    short = int(offsets.max()) + width - len(data)
    if short > 0:
        padded = np.concatenate([data, np.zeros(short, np.uint8)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    found: npt.NDArray[np.uint8] = windows[offsets.astype(np.intp)]
    return found
