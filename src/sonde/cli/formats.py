"""The formats that a command writes: by name, or by how the file behind -o ends."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sonde.errors import CommandError

TABLE = "table"


@dataclass(frozen=True, slots=True)
class Formats:
    """``names`` are all of them; ``suffixes`` are those of files, where a file's name says what is in it; ``binary`` no text.

    ``without`` names the options that a format has no use for.
    """

    names: tuple[str, ...]
    suffixes: Mapping[str, str] = field(default_factory=dict)
    binary: frozenset[str] = frozenset()
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def help(self) -> str:
        """Say what --format takes."""
        if not self.suffixes:
            return "A table for people, or rows for machines."
        return f"{', '.join(self.names)}; else as the name of -o FILE ends: {', '.join(self.suffixes)}."

    def of_file(self, path: str) -> str | None:
        """Find a file's format by the longest suffix; None where its name says nothing."""
        lower = path.lower()
        found = [suffix for suffix in self.suffixes if lower.endswith(suffix)]
        return self.suffixes[max(found, key=len)] if found else None

    def chosen(self, name: str | None, path: str | None) -> str:
        """Give the format that was asked for; raises ValueError for a file whose name does not say it, and for a terminal."""
        if path is None and name in self.binary and (sys.stdout is None or sys.stdout.isatty()):
            raise ValueError(f"--format {name} is no text for a terminal: give -o FILE")
        if name is not None:
            return name
        if path is None or not self.suffixes:
            return TABLE
        found = self.of_file(path)
        if found is None:
            raise ValueError(
                f"-o {path} does not say what to write: end it with {', '.join(self.suffixes)}, or give --format"
            )
        return found

    def check(self, name: str, options: Mapping[str, Any]) -> None:
        """Raise CommandError (2) for an option that was given and that a format has no use for."""
        given = [option for option in self.without.get(name, ()) if options[option]]
        if given:
            flag = "--" + given[0].removesuffix("_s")
            raise CommandError(flag, why=f"it does not go with --format {name}", status=2)


ROWS = Formats((TABLE, "json", "csv"))
"""What every view writes."""
