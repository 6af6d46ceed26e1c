"""Section ``[log]``: what sonde says of itself, on standard error."""

from __future__ import annotations

from dataclasses import dataclass

from sonde.agent.config.key import key
from sonde.agent.config.kind import Choice

LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """How much, and for whom."""

    level: str = key(Choice(LEVELS, noun="level"), "info", f"What is said: {', '.join(LEVELS)}.")
    format: str = key(
        Choice(("text", "json"), noun="format"), "text", "Text for people, or JSON, a line each."
    )
