"""Codec of floating point numbers."""

from __future__ import annotations

from typing import Any

from sonde.bpf.codec.codec import Codec

CODES = {2: "e", 4: "f", 8: "d"}  # of the struct module


class FloatCodec(Codec):
    """Floating point numbers of 2, 4 or 8 bytes."""

    def __init__(self, size: int) -> None:
        """Take ``size`` bytes."""
        super().__init__(f"f{8 * size}", size, CODES[size])

    def store(self, value: Any) -> float:
        """Take any real number."""
        try:
            number = float(value) if not isinstance(value, str) else None
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None:
            raise TypeError(f"{value!r} is no number: {self.label} takes one")
        try:
            self._pack(number)
        except OverflowError:
            raise ValueError(f"{value!r} does not fit: {self.label} has {self.size} bytes") from None
        return number

    def parse(self, text: str) -> float:
        """Read a number."""
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{text!r} is no number: {self.label} takes one, as 0.5") from None
