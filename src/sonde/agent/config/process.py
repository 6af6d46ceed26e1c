"""Section ``[process]``: who the agent is."""

from __future__ import annotations

from dataclasses import dataclass

from sonde.agent.config.key import key
from sonde.agent.config.kind import Text


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """The ``user`` that the agent becomes when it is started as root."""

    user: str = key(
        Text("the name of a user", is_empty_valid=False),
        "sonde",
        "Whom the agent becomes when it is started as root; where there is no such user: nobody.",
    )
