"""What JSON lines can be told."""

from __future__ import annotations

from dataclasses import dataclass

STDOUT = "-"


@dataclass(frozen=True, slots=True)
class JsonLinesSettings:
    """Where lines go, and when a file is replaced by a new one.

    ``path`` is a file, or ``-`` for standard output. A file that would grow beyond ``rotate_size_bytes``, or that is
    older than ``rotate_after_s`` seconds, is renamed to PATH.1, what was PATH.1 to PATH.2, up to ``rotate_keep`` of
    them (0 of either: never). ``queue_max`` bounds the points, and the records, that wait while nothing can be
    written. With ``resource`` every line has the resource's attributes.
    """

    path: str = STDOUT
    rotate_size_bytes: int = 100_000_000
    rotate_after_s: float = 0.0
    rotate_keep: int = 5
    metrics: bool = True
    logs: bool = True
    resource: bool = False
    queue_max: int = 50_000

    @property
    def is_stdout(self) -> bool:
        """Tell whether lines go to standard output, which is neither rotated nor closed."""
        return self.path == STDOUT
