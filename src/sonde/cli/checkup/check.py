"""One thing that was looked at: what was found, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """``value`` is True for fine, False for not, None where it could not be tried.

    ``found`` says what there is, ``fix`` the exact thing to do where it is not fine; ``is_needed`` that sonde cannot
    do its work without.
    """

    name: str
    value: bool | None
    found: str
    fix: str = ""
    is_needed: bool = False

    @property
    def is_fatal(self) -> bool:
        """Tell whether sonde cannot work because of it."""
        return self.is_needed and self.value is not True

    def as_dict(self) -> dict[str, Any]:
        """Give it as a value for JSON."""
        return {
            "check": self.name,
            "ok": self.value,
            "found": self.found,
            "fix": self.fix or None,
            "needed": self.is_needed,
        }


def read(path: str) -> str | None:
    """Read a small file of the kernel's; None where there is none, or it may not be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None
