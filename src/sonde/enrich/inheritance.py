"""What new processes run: the program of their parent at that moment, until they run another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


def executables_of_nodes(process: Array, parent: Array, is_exec: Array, begun: Array, before: Array) -> Array:
    """Give the executable (a number) after each fork and exec of a batch, which stand in their order.

    ``process`` and ``parent`` number processes, negative for an unknown parent. An exec's executable is ``begun``;
    that of a fork is what its parent's latest event before it gave, or else ``before``, what the parent ran when the
    batch began. No loop over events: a chain of forks takes as many steps as its length has binary digits.
    """
    import numpy as np

    count = len(process)
    at = np.arange(count, dtype=np.int64)
    # All events by process, then by time; where a fork stands in its parent's, the event before it is the one.
    moments = process.astype(np.int64) * count + at
    order = np.argsort(moments)
    sought = parent.astype(np.int64) * count + at
    place = np.searchsorted(moments[order], sought) - 1
    ancestor = order[np.maximum(place, 0)]
    has_ancestor = ~is_exec & (place >= 0) & (parent >= 0) & (process[ancestor] == parent)
    runs = np.where(is_exec, begun, before)
    # Forks wait for what their parent's event gives, which may be a fork that waits in its turn.
    waits = has_ancestor.copy()
    while waits.any():
        on = ancestor[waits]
        still = waits[on]
        indexes = np.flatnonzero(waits)
        runs[indexes[~still]] = runs[on[~still]]
        ancestor[indexes[still]] = ancestor[on[still]]
        waits[indexes[~still]] = False
    return runs
