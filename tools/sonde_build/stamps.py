"""Do work again only when what it depends on has changed: by content, not by time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path


def digest_of(*parts: str | bytes | Path) -> str:
    """One SHA-256 (hexadecimal) over texts, bytes and the contents of files."""
    whole = hashlib.sha256()
    for part in parts:
        data = (
            part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        )
        whole.update(len(data).to_bytes(8, "little"))
        whole.update(data)
    return whole.hexdigest()


class Stamp:
    """A file that says from which inputs the outputs beside it were made, and what the outputs were."""

    def __init__(self, path: Path, *, inputs: str, outputs: Iterable[Path]) -> None:
        self.path = path
        self.inputs = inputs
        self.outputs = list(outputs)

    def is_current(self) -> bool:
        """True when every output is there, unchanged, and made from these inputs."""
        if not self.path.exists() or not all(output.exists() for output in self.outputs):
            return False
        return self.path.read_text() == self._text()

    def write(self) -> None:
        """Record that the outputs are made."""
        write_if_changed(self.path, self._text())

    def _text(self) -> str:
        return f"{self.inputs}\n{digest_of(*self.outputs)}\n"


def write_if_changed(path: Path, text: str) -> None:
    """Write a file whole, or not at all when it already holds this text, so that nothing is built again for it."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(path)
