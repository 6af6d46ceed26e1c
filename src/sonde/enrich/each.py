"""Columns from columns: what follows from a value is worked out once for each different one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonde.records.model import Values

TEXT = "sonde_text_t"
"""The typedef of a text: probes/_include/types.bpf.h."""


def each_once(values: Values, tell: Callable[[Any], Any]) -> Values:
    """Give what ``tell`` says of each value, as objects; masked where the value is, or where it says None."""
    import numpy as np

    data, unknown = np.ma.getdata(values), np.ma.getmaskarray(values)
    known = np.flatnonzero(~unknown)
    different, index = np.unique(data[known], return_inverse=True)
    told = np.empty(len(different), dtype=object)
    told[:] = [tell(value) for value in different.tolist()]
    column = np.full(len(values), None, dtype=object)
    column[known] = told[index]
    missing = np.ones(len(values), dtype=bool)
    missing[known] = np.array([value is None for value in told], dtype=bool)[index]
    return np.ma.masked_array(column, mask=missing)
