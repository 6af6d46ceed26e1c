"""The version, which the package's metadata takes from here: to look it up there reads files and 40 modules."""

from __future__ import annotations

VERSION = "0.1.0"
