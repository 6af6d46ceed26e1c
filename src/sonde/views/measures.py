"""Which columns of a table add up, and what they are in a part of the time."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sonde.enrich.duration import UNIT_NS, with_quantiles
from sonde.records.fold import STAYING
from sonde.records.histogram import BUCKET
from sonde.records.metrics import DURATION_SCALE
from sonde.records.model import RecordBatch, Schema

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

_QUANTILE = re.compile(r"_p\d+_")


def additive(batch: RecordBatch) -> tuple[str, ...]:
    """Name the columns that add up over rows and over time: counts, sums and buckets."""
    return tuple(
        column.name
        for column in batch.schema.columns
        if not column.is_key
        and column.meaning not in STAYING
        and not _QUANTILE.search(column.name)
        and batch[column.name].dtype.kind in "iu"
    )


def identity(schema: Schema) -> tuple[str, ...]:
    """Name the columns that tell a table's rows apart."""
    keys = [column.name for column in schema.columns if column.is_key]
    return (*keys, "is_other") if "is_other" in schema.names else tuple(keys)


def scaled(batch: RecordBatch) -> RecordBatch:
    """Multiply what adds up by what a sampled event stands for."""
    if batch.scale == 1:
        return batch
    return batch.adding({name: batch[name] * batch.scale for name in additive(batch)})


class Delta:
    """Turns cumulative batches into what came since the batch before; quantiles are made anew.

    A largest value is exact where it is a new one; else it is the upper bound of the highest bucket that was hit.
    Rows that nothing was added to are left out. The deltas of all rows add up to the difference of the totals.
    """

    def __init__(self) -> None:
        self._before: RecordBatch | None = None

    def __call__(self, batch: RecordBatch) -> RecordBatch:
        """Give the difference to the batch of the call before."""
        before, self._before = self._before, batch
        if before is None or not len(before):
            return batch
        import numpy as np

        now, then = _matched(batch, before)
        names = additive(batch)
        added: dict[str, Any] = {}
        for name in names:
            current, earlier = _known(batch[name]), _known(before[name])
            difference = current.copy()
            difference[now] -= earlier[then]
            # Rows that ended were folded into "other", with all that was told of them before.
            gone = np.ones(len(before), dtype=bool)
            gone[then] = False
            if gone.any() and "is_other" in batch.columns:
                other = np.flatnonzero(np.asarray(batch["is_other"]))
                difference[other] -= earlier[gone].sum(axis=0, dtype=earlier.dtype)
            added[name] = difference
        changed = np.zeros(len(batch), dtype=bool)
        for difference in added.values():
            changed |= difference.reshape(len(batch), -1).any(axis=1)
        maxima = _maxima(batch, before, now, then, added)
        return with_quantiles(batch.adding(added)).adding(maxima).picking(changed)


def _known(values: Any) -> Array:
    import numpy as np

    return np.asarray(np.ma.filled(values, 0))


def _matched(batch: RecordBatch, before: RecordBatch) -> tuple[Array, Array]:
    """Give the positions of the rows that both have, in each of them."""
    import numpy as np

    names = identity(batch.schema)
    places = {key: at for at, key in enumerate(_keys(before, names))}
    pairs = [(at, places[key]) for at, key in enumerate(_keys(batch, names)) if key in places]
    matched = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    return matched[:, 0], matched[:, 1]


def _keys(batch: RecordBatch, names: tuple[str, ...]) -> Any:
    return zip(*(batch[name].tolist() for name in names), strict=True)


def _maxima(
    batch: RecordBatch, before: RecordBatch, now: Array, then: Array, added: dict[str, Any]
) -> dict[str, Any]:
    import numpy as np

    found: dict[str, Any] = {}
    for column in batch.schema.having(BUCKET):
        name = f"{column.name.removesuffix('_buckets')}_max_ns"
        if name not in batch.columns:
            continue
        current, earlier = _known(batch[name]), np.zeros(len(batch), dtype=np.uint64)
        earlier[now] = _known(before[name])[then]
        buckets = added[column.name]
        top = buckets.shape[1] - 1 - np.argmax(buckets[:, ::-1] != 0, axis=1)
        bound = np.floor(np.exp2((top + 1) / 2**DURATION_SCALE) * UNIT_NS).astype(np.uint64)
        largest = np.where(current > earlier, current, np.minimum(current, bound))
        found[name] = np.ma.masked_array(largest, mask=~(buckets != 0).any(axis=1))
    return found


def since(batch: RecordBatch, delta: Delta | None) -> RecordBatch:
    """Give the batch as it is to be shown: scaled, and only what is new where that was asked for."""
    return replace(scaled(delta(batch) if delta else batch), accounting=batch.accounting)
