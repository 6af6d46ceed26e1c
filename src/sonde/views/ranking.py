"""The order of a table's rows, and how many of them are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sonde.records.model import RecordBatch

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Ranking:
    """Sorts by a column, the largest first and text from A to Z, and keeps ``limit`` rows (0: all).

    Unknown values come last, and the row of ``other`` behind all, whatever the limit.
    """

    sort: str
    limit: int = 0

    def order(self, batch: RecordBatch, *, limit: int | None = None) -> tuple[npt.NDArray[Any], int]:
        """Give the positions of the rows to show, in order, and how many are left out."""
        import numpy as np

        positions = self._ranked(batch)
        is_other = np.asarray(batch.columns.get("is_other", np.zeros(len(batch), dtype=bool)))
        rows, others = positions[~is_other[positions]], positions[is_other[positions]]
        limit = self.limit if limit is None else limit
        hidden = max(0, len(rows) - limit) if limit else 0
        return np.concatenate([rows[: len(rows) - hidden], others]), hidden

    def _ranked(self, batch: RecordBatch) -> npt.NDArray[Any]:
        return _positions(batch[self.sort])


class InOrder(Ranking):
    """Keeps the order that the rows come in, which the column ``sort`` numbers."""

    def _ranked(self, batch: RecordBatch) -> npt.NDArray[Any]:
        import numpy as np

        return np.arange(len(batch), dtype=np.intp)


def _positions(values: Any) -> npt.NDArray[Any]:
    import numpy as np

    unknown = np.ma.getmaskarray(values)
    known = np.ma.getdata(values)
    if known.dtype.kind in "iufb":
        # Stable, and the largest first: what is equal keeps the kernel's order, so that rows do not jump.
        descending = len(known) - 1 - np.argsort(known[::-1], kind="stable")[::-1]
    else:
        texts = known.tolist()
        descending = np.array(
            sorted(range(len(texts)), key=lambda at: (texts[at] is None, str(texts[at]))), dtype=np.intp
        )
    return np.concatenate([descending[~unknown[descending]], descending[unknown[descending]]])
