"""The bound on what sonde itself may cost, and the steps that it goes down when it costs more."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.IntEnum):
    """How much is measured; each level costs less than the one before."""

    RECORDS = 0
    """Everything: every record of every stream, every event of every table."""
    SAMPLED = 1
    """Records and events are sampled; counts stand for what they were sampled from."""
    AGGREGATED = 2
    """Streams are detached; tables go on, sampled."""
    DETACHED = 3
    """Nothing is attached: what happens is not seen, and totals stand still."""

    @property
    def words(self) -> str:
        """Say it to a person."""
        return {
            Level.RECORDS: "all records",
            Level.SAMPLED: "records sampled",
            Level.AGGREGATED: "tables only, sampled",
            Level.DETACHED: "detached",
        }[self]


OVER_BEFORE_STEP = 2
CALM_BEFORE_RECOVERY = 6
CALM_MAX = 96
RECOVERY_SHARE = 0.5
"""Recovery begins below this share of the budget: going up one level must not be over it at once."""


@dataclass(slots=True)
class Budget:
    """Decides the level from what was used, interval by interval.

    ``share`` is the budget as a share of one core (0.01 is 1 %), None for no budget. It steps down when two intervals
    in a row are over it, or at once when one is over twice as much. It goes up one level after six calm intervals;
    each recovery that does not last doubles that patience, so that it does not swing.
    """

    share: float | None
    level: Level = Level.RECORDS
    steps_down: int = 0
    recoveries: int = 0
    _over: int = 0
    _calm: int = 0
    _patience: int = CALM_BEFORE_RECOVERY
    _since_recovery: int | None = None

    def judge(self, used_share: float) -> Level:
        """Take what the last interval cost, as a share of one core; gives the level from now on."""
        if self.share is None:
            return self.level
        if self._since_recovery is not None:
            self._since_recovery += 1
        if used_share > self.share:
            self._calm = 0
            self._over += 1
            if self._over >= OVER_BEFORE_STEP or used_share > 2 * self.share:
                self._step_down()
            return self.level
        self._over = 0
        self._calm = self._calm + 1 if used_share <= self.share * RECOVERY_SHARE else 0
        if self.level > Level.RECORDS and self._calm >= self._patience:
            self._recover()
        elif self._since_recovery is not None and self._since_recovery > 2 * self._patience:
            # The recovery has lasted: the next one need not wait longer than the first.
            self._patience, self._since_recovery = CALM_BEFORE_RECOVERY, None
        return self.level

    def _step_down(self) -> None:
        self._over = 0
        if self.level == Level.DETACHED:
            return
        self.level = Level(self.level + 1)
        self.steps_down += 1
        if self._since_recovery is not None:
            self._patience = min(CALM_MAX, 2 * self._patience)
            self._since_recovery = None

    def _recover(self) -> None:
        self.level = Level(self.level - 1)
        self.recoveries += 1
        self._calm = 0
        self._since_recovery = 0
