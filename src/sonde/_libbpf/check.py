"""The one place where a return code of libbpf or of the kernel becomes an exception."""

from __future__ import annotations

import errno
from typing import Any

from sonde._libbpf import ffi
from sonde.errors import KernelError, NotSupportedError, PermissionDeniedError

ENOTSUPP = 524  # the kernel's own, not in <errno.h>


def error_for(
    number: int, operation: str, subject: str = "", *, why: str = "", hint: str = "", capability: str = ""
) -> KernelError:
    """Choose the narrowest exception for an errno; ``capability`` is what the operation needs, as CAP_BPF."""
    number = abs(number)
    if number == errno.EPERM:
        return PermissionDeniedError(
            number, operation=operation, subject=subject, capability=capability, why=why, hint=hint
        )
    if number in (errno.EOPNOTSUPP, ENOTSUPP):
        feature = f"{operation} {subject}".strip()
        return NotSupportedError(
            feature, errno=number, operation=operation, subject=subject, why=why, hint=hint
        )
    return KernelError(number, operation=operation, subject=subject, why=why, hint=hint)


def check(
    result: int, operation: str, subject: str = "", *, why: str = "", hint: str = "", capability: str = ""
) -> int:
    """Give back a result that is not negative; raise what a negative errno means."""
    if result < 0:
        raise error_for(result, operation, subject, why=why, hint=hint, capability=capability)
    return result


def check_pointer(
    pointer: Any, operation: str, subject: str = "", *, why: str = "", hint: str = "", capability: str = ""
) -> Any:
    """Give back a pointer that is not NULL; raise what ``errno`` means otherwise."""
    if not pointer:
        raise error_for(ffi.errno, operation, subject, why=why, hint=hint, capability=capability)
    return pointer
