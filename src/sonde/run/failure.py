"""Why a probe could not be loaded: of several variants, each of which the kernel refused for a reason of its own."""

from __future__ import annotations

from collections.abc import Sequence

from sonde.errors import KernelError, PermissionDeniedError
from sonde.probe import Probe


def failure_of(probe: Probe, errors: Sequence[KernelError]) -> KernelError:
    """Give what says most of why none of the variants could be loaded, in whose order the errors are."""
    from sonde.bpf.capabilities import TRACING, missing

    assert errors, "a probe has at least one variant"
    denied = [each for each in errors if isinstance(each, PermissionDeniedError)]
    others = [each for each in errors if not isinstance(each, PermissionDeniedError)]
    lacking = missing(probe.capabilities)
    if denied and (lacking or not others):
        if not set(lacking) - set(TRACING):
            return denied[0]
        # The kernel only says that it is not permitted: name all that is missing, where it is more than tracing takes.
        all_of_them = PermissionDeniedError(
            operation=f"load probe {probe.name}", capability=", ".join(lacking)
        )
        all_of_them.__cause__ = denied[0]
        return all_of_them
    # Some kinds of program may be forbidden, and others not: what keeps these from loading says more. The first
    # variant is the one for this kernel, unless the kernel is old.
    first, *rest = others
    for later in rest:
        first.add_note(f"also: {later}")
    return first


def let_go(error: BaseException) -> None:
    """Free what the frames of an error hold, which hold it: objects of a megabyte would wait for the garbage collector."""
    import traceback

    traceback.clear_frames(error.__traceback__)
    error.__traceback__ = None
    if error.__context__ is not None:
        let_go(error.__context__)
