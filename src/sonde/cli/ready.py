"""Tell whoever started sonde that it measures."""

from __future__ import annotations

import os

from sonde.errors import CommandError


def tell_ready(fd: int | None) -> None:
    """Write one byte to the descriptor of ``--ready-fd``: everything is attached and counts."""
    if fd is None:
        return
    try:
        os.write(fd, b"\n")
    except OSError as error:
        raise CommandError(f"write to --ready-fd {fd}", why=error.strerror or "it failed") from error
