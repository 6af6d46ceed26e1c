"""The stacks that rows name by number: what BPF took down, as addresses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

USER_STACK, KERNEL_STACK = "sonde_user_stack_t", "sonde_kernel_stack_t"
"""The typedefs of a stack's number: probes/_include/types.bpf.h."""

STACKS_MAX = 65_536
"""So many stacks are remembered by their addresses."""

NONE = 0
"""The number of no stack: a kernel thread has none of user space, a program none of the kernel while it does not call it."""

MISSING = {1: "map of stacks full", 2: "not readable", 3: "blocked before the start"}
"""Numbers of stacks that there were and that could not be taken, and why: probes/_include/stack.bpf.h."""

NUMBER_MIN = 16
"""Less is no stack's number: probes/_include/stack.bpf.h."""

FORGOTTEN = "forgotten"
"""Why a stack with a number of its own may have no addresses: others have taken its place."""


class StackTable:
    """Addresses by a stack's number, which is made of them: the same addresses have the same number, on every read.

    ``stacks_max`` bounds it: beyond that ``trim`` forgets those that no row names any more, those that have not come for the
    longest time first, and counts them in ``forgotten``. Number 0 is no stack, and a few others say why there is none (``missing``).
    """

    def __init__(self, *, stacks_max: int = STACKS_MAX) -> None:
        self._stacks: dict[int, Array] = {}
        self._stacks_max = stacks_max
        self.forgotten = 0

    def add(self, numbers: Iterable[int], stacks: Iterable[Array]) -> None:
        """Remember stacks: uint64 arrays of addresses, the innermost first."""
        for number, addresses in zip(numbers, stacks, strict=True):
            # As the newest: what comes again is forgotten last.
            self._stacks.pop(number, None)
            self._stacks[number] = addresses

    def trim(self, in_use: Callable[[], Collection[int]]) -> None:
        """Keep the bound: forget stacks that are not in use, and others only where that is not enough."""
        excess = len(self._stacks) - self._stacks_max
        if excess <= 0:
            return
        used = in_use()
        # The order is kept: of either kind the oldest go first.
        order = sorted(self._stacks, key=used.__contains__)
        for number in order[:excess]:
            del self._stacks[number]
        self.forgotten += excess

    def __getitem__(self, number: int) -> Array:
        """Give a stack's addresses, the innermost first; raises KeyError."""
        return self._stacks[number]

    def missing(self, number: int) -> str:
        """Say why a stack has no addresses here; "" where it has some, and where there was no stack."""
        if number == NONE or number in self._stacks:
            return ""
        return MISSING.get(number, FORGOTTEN)

    def __contains__(self, number: object) -> bool:
        return number in self._stacks

    def __len__(self) -> int:
        return len(self._stacks)
