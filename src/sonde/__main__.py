"""``python -m sonde``."""

from __future__ import annotations

from sonde.cli import start

if __name__ == "__main__":
    start()
