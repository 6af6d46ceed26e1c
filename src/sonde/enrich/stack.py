"""Stacks by number → the names of their frames, as columns: what ran where, of processes that live or have ended."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sonde.enrich.address_space import Mappings
from sonde.enrich.address_spaces import AddressSpaces
from sonde.enrich.kept_stacks import KeptStacks
from sonde.enrich.kernel_symbol import KernelSymbols, Symbol, kernel_symbols
from sonde.enrich.symbols.binaries import Binaries
from sonde.enrich.symbols.places import NOWHERE, Asked, Place, Places
from sonde.records.frames import (
    KERNEL,
    MARK,
    NOTHING,
    SEPARATOR,
    STACK,
    UNKNOWN,
    Frame,
    Written,
    columns_of,
    written,
)
from sonde.records.model import RecordBatch
from sonde.records.stacks import KERNEL_STACK, NUMBER_MIN, USER_STACK, StackTable

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

DEPTH_MAX = 127
"""A stack of so many frames goes on, most likely: probes/_include/stack.bpf.h takes no more."""
KEPT_BYTES_MAX = 32 << 20
"""So much is kept of stacks for the next read."""
BROKEN_OFF, TRUNCATED, NO_STACK = "[broken off]", "[truncated]", "[no stack: {}]"
KERNEL_MODULE = "[kernel]"

Row = tuple[int, int, int, int]
"""A process, a time in ns, and the numbers of a user stack and a kernel stack."""
Named = tuple[Written, bool]
"""A stack, and whether it will stay so."""
UserStack = tuple[int, Mappings, int]
"""A process, what it had mapped, and the number of a stack."""


class StackNames:
    """Adds the columns of stacks (records/frames.py) to rows that name stacks by number.

    Each stack is named once for each state of an address space, each address once for each file: a read costs Python
    for each row, and for each frame that is new. ``weight`` is the column that tells which rows matter most, ``shorten`` makes
    of a stack of the kernel what is shown of it. ``notes`` says what a person should know of the names.
    """

    def __init__(
        self,
        stacks: StackTable,
        spaces: AddressSpaces,
        *,
        binaries: Binaries,
        kernel: KernelSymbols | None = None,
        weight: str,
        shorten: Callable[[Written], Written] = lambda stack: stack,
    ) -> None:
        self._stacks, self._spaces, self._binaries = stacks, spaces, binaries
        self._weight, self._shorten = weight, shorten
        self._kernel = kernel if kernel is not None else kernel_symbols()
        # Whole rows, whose texts all batches share; and what new ones are made of: by state of an address space, and number.
        self._rows = KeptStacks(KEPT_BYTES_MAX)
        self._users = KeptStacks(KEPT_BYTES_MAX // 4)
        self._kernels = KeptStacks(KEPT_BYTES_MAX // 4)
        self._places = Places(spaces, binaries)
        # User stacks of rows that are nobody's any more, by numbers that are made of their names.
        self._nobodys: dict[int, Written] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """Say what is missing in the names, and what would help."""
        hidden = self._kernel.missing if len(self._kernels) else ""
        lost = f"{self._spaces.lost:,} records of mappings were lost: some frames may be unknown"
        return (*self._binaries.notes, *([hidden] if hidden else []), *([lost] if self._spaces.lost else []))

    def __call__(self, batch: RecordBatch) -> RecordBatch:
        """Name the stacks of a batch."""
        users, kernels = batch.schema.having(USER_STACK), batch.schema.having(KERNEL_STACK)
        if not users and not kernels:
            return batch
        nothing = [0] * len(batch)
        pids = _numbers(batch, "pid") or nothing
        times = _numbers(batch, "first_seen_ns") or [time.clock_gettime_ns(time.CLOCK_MONOTONIC)] * len(batch)
        user_numbers = _numbers(batch, users[0].name) if users else nothing
        kernel_numbers = _numbers(batch, kernels[0].name) if kernels else nothing
        rows: list[Row] = list(zip(pids, times, user_numbers, kernel_numbers, strict=True))
        self._forget_nobodys(user_numbers)
        named = self._named(list(dict.fromkeys(rows)))
        # A process that has ended cannot be asked again: the names of the lightest rows are the first to go.
        self._rows.trim(lambda: _lightest_first(rows, _numbers(batch, self._weight)))
        self._users.trim()
        self._kernels.trim()
        return batch.adding(columns_of([named[row] for row in rows]), meanings={"stack": STACK})

    def numbers(self, pids: Array, times: Array, users: Array, kernels: Array) -> Array:
        """Give the user stacks of rows numbers that are those of all stacks with the same names, which is named by them later."""
        columns = (pids, times, users, kernels)
        rows: list[Row] = list(zip(*(each.tolist() for each in columns), strict=True))
        some = [row for row in dict.fromkeys(rows) if row[2] >= NUMBER_MIN and row[2] not in self._nobodys]
        # By whole rows: who has ended may have names there alone.
        named, kernel = self._named(some), self._name_kernels([row[3] for row in some])
        found = users.copy()
        for at, row in enumerate(rows):
            if row in named:
                text = named[row].outermost(len(named[row].kinds) - len(kernel[row[3]].kinds))
                found[at] = number = hash(text) & (1 << 64) - 1 | NUMBER_MIN
                self._nobodys.setdefault(number, text)
        return found

    def _forget_nobodys(self, numbers: Sequence[int]) -> None:
        if len(self._nobodys) > len(numbers):
            self._nobodys = {each: self._nobodys[each] for each in self._nobodys.keys() & set(numbers)}

    def _named(self, rows: Sequence[Row]) -> dict[Row, Written]:
        """Give the names of rows: those that are kept, and new ones."""
        named = {row: kept for row in rows if (kept := self._rows.get(row)) is not None}
        new = [row for row in rows if row not in named]
        users = self._name_users(new)
        kernels = self._name_kernels([row[3] for row in new])
        for row in new:
            (user, is_final), kernel = users[row], kernels[row[3]]
            named[row] = _concatenated([each for each in (user, kernel) if each.kinds])
            if is_final:
                named[row] = self._rows.put(row, named[row])
        return named

    # ---- user space -------------------------------------------------------------------------------------------

    def _name_users(self, rows: Sequence[Row]) -> dict[Row, Named]:
        """Name the user stacks of rows."""
        found: dict[Row, Named] = {}
        wanted: dict[Row, UserStack] = {}
        states: dict[tuple[int, int], Mappings] = {}
        for row in rows:
            pid, at, number, _ = row
            written = self._nobodys.get(number) or self._without_addresses(number)
            if written is None:
                if (pid, at) not in states:
                    states[pid, at] = self._spaces.at(pid, at) or Mappings()
                mappings = states[pid, at]
                written = self._users.get((mappings.serial, number))
                if written is None:
                    wanted[row] = (pid, mappings, number)
                    continue
            found[row] = (written, True)
        named = self._name_new(list(dict.fromkeys(wanted.values())))
        for row, stack in wanted.items():
            written, is_final = named[stack]
            if is_final:
                written = self._users.put((stack[1].serial, stack[2]), written)
            found[row] = written, is_final
        return found

    def _without_addresses(self, number: int) -> Written | None:
        """Say why a stack has no frames; None where it has some."""
        if number in self._stacks:
            return None
        why = self._stacks.missing(number)
        return _mark(NO_STACK.format(why)) if why else NOTHING

    def _name_new(self, wanted: Sequence[UserStack]) -> dict[UserStack, Named]:
        """Name stacks that have no names yet, and tell of each whether it will stay so."""
        places = self._places_of(wanted)
        # While a program begins, the kernel still has the registers of the one that called it: execve(2).
        before = {each: self._before(each) for each in wanted if places[each][:1] == [None]}
        earlier = self._places_of([each for each in before.values() if each is not None])
        found = {}
        for each in wanted:
            instead = before.get(each)
            if instead is not None and earlier[instead][0] is not None:
                taken, is_known = earlier[instead], True
            else:
                taken, is_known = places[each], bool(each[1].spans)
            frames = _frames(taken, is_known=is_known)
            # A register that was no frame pointer may lead in circles: then it is not depth that cuts the stack.
            is_truncated = len(frames) >= DEPTH_MAX
            found[each] = _user_stack(frames, is_truncated=is_truncated)
        return found

    def _before(self, stack: UserStack) -> UserStack | None:
        """Give the same stack in the program that the process ran before; None where there was none."""
        pid, mappings, number = stack
        earlier = self._spaces.at(pid, mappings.begin_ns - 1) if mappings.begin_ns > 0 else None
        return None if earlier is None or earlier is mappings else (pid, earlier, number)

    def _places_of(self, wanted: Sequence[UserStack]) -> dict[UserStack, list[Place | None]]:
        """Tell what the addresses of stacks are, the innermost first; all those of a file are looked up together."""
        by_state: dict[tuple[int, Mappings], list[int]] = {}
        for pid, mappings, number in dict.fromkeys(wanted):
            by_state.setdefault((pid, mappings), []).append(number)
        asked = [
            Asked(pid, mappings, _code_addresses([self._stacks[number] for number in numbers]))
            for (pid, mappings), numbers in by_state.items()
        ]
        found = {}
        for (pid, mappings), places in zip(by_state, self._places.of(asked), strict=True):
            at = 0
            for number in by_state[pid, mappings]:
                depth = len(self._stacks[number])
                found[pid, mappings, number] = places[at : at + depth]
                at += depth
        return found

    # ---- kernel -----------------------------------------------------------------------------------------------

    def _name_kernels(self, numbers: Sequence[int]) -> dict[int, Written]:
        """Name the kernel's stacks."""
        import numpy as np

        found: dict[int, Written] = {}
        new = []
        for number in dict.fromkeys(numbers):
            kept = self._kernels.get(number) or self._without_addresses(number)
            if kept is None:
                new.append(number)
            else:
                found[number] = kept
        stacks = [self._stacks[number] for number in new]
        different, index = np.unique(_code_addresses(stacks), return_inverse=True)
        names = [_kernel_frame(each) for each in (self._kernel.of(different) if new else ())]
        at, places = 0, index.tolist()
        for number, stack in zip(new, stacks, strict=True):
            frames = [names[place] for place in reversed(places[at : at + len(stack)])]
            whole = _concatenated([*([_mark(TRUNCATED)] if len(stack) >= DEPTH_MAX else []), *frames])
            found[number] = self._kernels.put(number, self._shorten(whole))
            at += len(stack)
        return found


def _lightest_first(rows: Sequence[Row], weights: Sequence[int]) -> list[Row]:
    """Order rows by their weights."""
    return [rows[at] for at in sorted(range(len(rows)), key=weights.__getitem__)]


def _numbers(batch: RecordBatch, name: str) -> list[int]:
    """Give a column's values; 0 where one is unknown, nothing where there is no such column."""
    import numpy as np

    if name not in batch.columns:
        return []
    found: list[int] = np.ma.filled(batch[name], 0).tolist()
    return found


def _concatenated(parts: Sequence[Written]) -> Written:
    """Put stacks one behind the other."""
    if len(parts) < 2:
        return parts[0] if parts else NOTHING
    return Written(
        SEPARATOR.join([each.names for each in parts]),
        "".join([each.kinds for each in parts]),
        SEPARATOR.join([each.modules for each in parts]),
        SEPARATOR.join([each.sources for each in parts]),
    )


def _code_addresses(stacks: Sequence[Array]) -> Array:
    """Give the addresses of the calls on stacks, one stack behind the other.

    On a stack is where a call returns to, which may be the next function already. The innermost address is no such.
    """
    import numpy as np

    addresses = np.concatenate([*stacks, np.empty(0, np.uint64)])
    is_return = np.ones(len(addresses), dtype=bool)
    innermost = np.cumsum([0, *map(len, stacks)])[:-1]
    is_return[innermost[innermost < len(addresses)]] = False
    return addresses - is_return


def _frames(places: Sequence[Place | None], *, is_known: bool) -> list[Place]:
    """Take a stack's places, the innermost first, up to where its thread begins, or what is no code.

    Behind that a register that was no frame pointer has led somewhere. ``is_known`` says that it is known what is code.
    """
    frames: list[Place] = []
    for place in places:
        if place is None and frames and is_known:
            break
        if frames and frames[-1].is_begin and (place is None or not place.is_root):
            break
        frames.append(place or NOWHERE)
    return frames


def _user_stack(frames: Sequence[Place], *, is_truncated: bool) -> Named:
    """Write a user stack, from its innermost frame to its outermost, and tell whether it will stay so."""
    parts = [each.written for each in reversed(frames)]
    if is_truncated:
        parts.insert(0, _mark(TRUNCATED))
    elif frames and not frames[-1].is_root:
        parts.insert(0, _mark(BROKEN_OFF, frames[-1].module))
    return _concatenated(parts), all(each.is_final for each in frames)


def _kernel_frame(symbol: Symbol | None) -> Written:
    if symbol is None:
        return written([Frame(KERNEL_MODULE, UNKNOWN, KERNEL_MODULE)])
    return written([Frame(symbol.function, KERNEL, f"[{symbol.module or 'kernel'}]")])


@functools.lru_cache(maxsize=1024)
def _mark(text: str, module: str = "") -> Written:
    return written([Frame(text, MARK, module)])
