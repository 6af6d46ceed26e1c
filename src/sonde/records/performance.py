"""What a profile of the CPUs says so far: how much was sampled, of whom, and in which stacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sonde.records.frames import frames_of

if TYPE_CHECKING:
    from sonde.records.model import RecordBatch

HOTTEST = 10
"""So many stacks are told."""


@dataclass(frozen=True, slots=True)
class HotStack:
    """A stack with its samples: the names of its frames, the outermost first.

    ``comm`` is the thread's name; ``pid`` is None, and ``comm`` other, for what found no room in the kernel.
    """

    count: int
    pid: int | None
    comm: str
    frames: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PerformanceStats:
    """A profile from its start to now: ``expected`` ticks, of which so many became ``samples``.

    ``idle`` are ticks of CPUs that had nothing to do, ``filtered`` other ones that do not count (sonde's own), ``lost``
    those that the kernel skipped, by cause: all five add up. ``processes`` are the samples by pid (0: what found no
    room), ``stacks`` the hottest ones, the hottest first. With ``final`` nothing is added any more.
    """

    samples: int
    expected: int
    idle: int
    filtered: int
    lost: Mapping[str, int]
    processes: Mapping[int, int]
    stacks: tuple[HotStack, ...]
    final: bool = False

    @classmethod
    def of(cls, batch: RecordBatch) -> PerformanceStats:
        """Read them off a batch of the probe ``cpu``."""
        import numpy as np

        account = batch.accounting
        idle = account.notes.get("idle", 0)
        pids = np.ma.filled(batch["pid"], 0)
        each, at = np.unique(pids, return_inverse=True)
        counts = np.zeros(len(each), np.uint64)
        np.add.at(counts, at, batch["count"])
        order = np.argsort(batch["count"], kind="stable")[::-1][:HOTTEST]
        return cls(
            samples=account.aggregated,
            expected=account.seen,
            idle=idle,
            filtered=account.filtered - idle,
            lost=dict(account.lost),
            processes=dict(zip(each.tolist(), counts.tolist(), strict=True)),
            stacks=tuple(_hot(row) for row in batch.picking(order).rows()),
            final=account.final,
        )


def _hot(row: Mapping[str, Any]) -> HotStack:
    return HotStack(row["count"], row["pid"], row["comm"], tuple(each.name for each in frames_of(row)))
