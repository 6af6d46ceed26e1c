"""Section ``[budget]``: what sonde may cost."""

from __future__ import annotations

from dataclasses import dataclass

from sonde.agent.config.key import key
from sonde.agent.config.kind import Share


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """``cpu`` is a share of one core, None for no bound."""

    cpu: float | None = key(
        Share(),
        0.05,
        "Of one core, all that sonde does, its programs in the kernel included; above it sonde does less, step by "
        'step. "off": no bound.',
    )
