"""Names of errors, those too that the kernel keeps to itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sonde.enrich.numbered import numbered

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sonde.records.model import RecordBatch

ERRNO = "sonde_errno_t"
"""The typedef of an error, 0 for none: probes/_include/types.bpf.h."""

INTERNAL = """
512 ERESTARTSYS ERESTARTNOINTR ERESTARTNOHAND ENOIOCTLCMD ERESTART_RESTARTBLOCK EPROBE_DEFER EOPENSTALE ENOPARAM
521 EBADHANDLE ENOTSYNC EBADCOOKIE ENOTSUPP ETOOSMALL ESERVERFAULT EBADTYPE EJUKEBOX EIOCBQUEUED ERECALLCONFLICT
ENOGRACE
"""
"""Results that a call's program never sees: include/linux/errno.h, which is no header of user space."""


@cache
def errno_names() -> Mapping[int, str]:
    """Give number → name, the same on x86 and arm."""
    from sonde.enrich import errno_table

    return MappingProxyType(numbered(errno_table.ERRORS) | numbered(INTERNAL))


def errno_name(number: int) -> str | None:
    """Name an error; ``errno_N`` if it is unknown, None for 0."""
    if number == 0:
        return None
    return errno_names().get(number, f"errno_{number}")


def name_errors(numbers: npt.NDArray[Any]) -> np.ma.MaskedArray[Any, Any]:
    """Name an array of errors, each different one once; no error is masked."""
    import numpy as np

    different, index = np.unique(np.asarray(numbers), return_inverse=True)
    names = np.array([errno_name(number) for number in different.tolist()], dtype=object)
    named = names[index] if len(names) else np.empty(0, dtype=object)
    masked: np.ma.MaskedArray[Any, Any] = np.ma.masked_array(named, mask=np.asarray(numbers) == 0)
    return masked


def with_error_name(batch: RecordBatch) -> RecordBatch:
    """Put names in the place of error numbers; no error is masked."""
    return batch.adding(
        {column.name: name_errors(batch[column.name]) for column in batch.schema.having(ERRNO)}
    )
