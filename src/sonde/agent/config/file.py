"""Section ``[file]``: metrics and records as lines of JSON."""

from __future__ import annotations

from dataclasses import dataclass

from sonde.agent.config.key import key
from sonde.agent.config.kind import Boolean, Integer, Size, Text


@dataclass(frozen=True, slots=True)
class FileConfig:
    """Where lines go, and when a file is replaced by a new one; an empty ``path`` writes none."""

    path: str = key(
        Text("a path, or - for standard output"),
        "",
        "Where to write; - is standard output. Unset: nowhere.",
        example='"/var/log/sonde/sonde.jsonl"',
    )
    rotate_size_bytes: int = key(
        Size(least=4096), 100_000_000, "A file that has grown so large is renamed.", name="rotate_size"
    )
    rotate_keep: int = key(Integer(0, 1000), 5, "So many renamed files are kept.")
    metrics: bool = key(Boolean(), True, "Write the metrics.")
    logs: bool = key(Boolean(), True, "Write the streams' records.")

    @property
    def is_enabled(self) -> bool:
        """Tell whether it writes at all."""
        return bool(self.path) and (self.metrics or self.logs)
