"""Settings: a value for a key, and where somebody wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sonde.agent.config.key import Path
from sonde.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something is written: the ``file`` (or ``environment``, ``command line``), the line, the key's name there."""

    file: str
    key: str
    line: int = 0

    def problem(self, reason: str) -> ConfigError:
        """Make the error for what is written here."""
        return ConfigError(self.file, key=self.key, reason=reason, line=self.line)


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, as it was read, for the key of a path."""

    path: Path
    value: Any
    origin: Origin


class Layer:
    """What one place says: its settings, and what is wrong with the rest."""

    def __init__(self) -> None:
        self.settings: list[Setting] = []
        self.problems: list[ConfigError] = []
        self.warnings: list[str] = []

    def add(self, path: Path, value: Any, origin: Origin) -> None:
        """Keep a value that was read."""
        self.settings.append(Setting(path, value, origin))

    def refuse(self, origin: Origin, reason: str) -> None:
        """Keep a problem."""
        self.problems.append(origin.problem(reason))
