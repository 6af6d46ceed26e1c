"""Columns from columns: what follows from a value is worked out once for each different one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.records.model import Values

TEXT = "sonde_text_t"
"""The typedef of a text: probes/_include/types.bpf.h."""

SMALL = 4096
"""Numbers below this (of calls, errors, protocols, reasons) are found in a table: a third of the time of sorting them."""


def each_once(values: Values, tell: Callable[[Any], Any]) -> Values:
    """Give what ``tell`` says of each value, as objects; masked where the value is, or where it says None."""
    import numpy as np

    data, unknown = np.ma.getdata(values), np.ma.getmaskarray(values)
    known = np.flatnonzero(~unknown)
    different, index = _different(data[known])
    told = np.empty(len(different), dtype=object)
    told[:] = [tell(value) for value in different.tolist()]
    column = np.full(len(values), None, dtype=object)
    column[known] = told[index]
    missing = np.ones(len(values), dtype=bool)
    missing[known] = np.array([value is None for value in told], dtype=bool)[index]
    return np.ma.masked_array(column, mask=missing)


def _different(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Give each different value once, in order, and where each value is among them."""
    import numpy as np

    if values.dtype.kind != "u" or values.max(initial=0) >= SMALL:
        return np.unique(values, return_inverse=True)
    is_there = np.zeros(SMALL, dtype=bool)
    is_there[values] = True
    return np.flatnonzero(is_there), (np.cumsum(is_there) - 1)[values]
