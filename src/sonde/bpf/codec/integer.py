"""Codecs of integers, and of bool and bit-fields, which are integers underneath."""

from __future__ import annotations

import operator
import sys
from typing import Any

from sonde.bpf.codec.codec import Codec

CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}  # of the struct module; its signed ones are the small letters
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


class IntCodec(Codec):
    """Integers of 1, 2, 4 or 8 bytes. The struct module checks their range, ``store`` says what it is."""

    def __init__(self, size: int, *, signed: bool, label: str = "") -> None:
        """Take ``size`` bytes; ``label`` defaults to the kernel's word, as ``u32``."""
        code = CODES[size].lower() if signed else CODES[size]
        super().__init__(label or int_label(8 * size, signed=signed), size, code)
        self.signed = signed
        self.low, self.high = int_range(8 * size, signed=signed)

    @property
    def valid(self) -> str:
        """The type and its range, ``u32 0..4294967295``."""
        return f"{self.label} {self.low}..{self.high}"

    def store(self, value: Any) -> int:
        """Check the range."""
        return int_within(value, self.low, self.high, self.label)

    def parse(self, text: str) -> int:
        """Read a decimal, ``0x``, ``0o`` or ``0b`` number."""
        return int_from(text, self.valid)


class BoolCodec(Codec):
    """C's ``bool``; any byte but 0 is true, as the compiler sees it."""

    loads = stores = True

    def __init__(self) -> None:
        """Take one byte."""
        super().__init__("bool", 1, "B")

    @property
    def valid(self) -> str:
        """Both of them."""
        return "bool true or false"

    def load(self, item: int) -> bool:
        """Compare with zero."""
        return item != 0

    def store(self, value: Any) -> bool:
        """Take a bool, or 0 or 1."""
        return bool(int_within(value, 0, 1, "bool"))

    def parse(self, text: str) -> bool:
        """Read true or false, yes or no, on or off, 1 or 0."""
        word = text.strip().lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE
        raise ValueError(f"{text!r} is no bool: take true or false")


class BitsCodec(Codec):
    """An integer in some bits of its bytes: bit-fields, and integers of unusual sizes (``__int128``).

    As an item of a struct it is the integer of all its bytes, which it may share with other bit-fields:
    ``extract`` and ``insert`` do for that what ``load`` and ``store`` do for bytes of its own.
    """

    loads = stores = True

    def __init__(self, inner: Codec, size: int, *, bits: int, shift: int, shared: bool = False) -> None:
        """Take ``bits`` bits, ``shift`` above the lowest; ``inner`` gives them their meaning.

        ``shared`` says that a struct's other bit-fields may lie in the same bytes.
        """
        super().__init__(inner.label if bits == 8 * inner.size else f"{inner.label}:{bits}", size, f"{size}s")
        self.inner = inner
        self.signed = inner.signed
        self.shared = shared
        self.shift = shift
        self.mask = (1 << bits) - 1
        self.sign = 1 << (bits - 1) if inner.signed else 0
        self.low, self.high = int_range(bits, signed=inner.signed)

    @property
    def valid(self) -> str:
        """The type, its bits and its range."""
        return f"{self.label} {self.low}..{self.high}"

    def extract(self, item: int) -> Any:
        """Take the value out of the integer that holds it."""
        raw = (item >> self.shift & self.mask ^ self.sign) - self.sign
        return self.inner.load(raw) if self.inner.loads else raw

    def insert(self, value: Any) -> int:
        """Give the value's bits in their place."""
        number = self.inner.store(value) if self.inner.stores else value
        return (int_within(number, self.low, self.high, self.label) & self.mask) << self.shift

    def load(self, item: bytes) -> Any:
        """Read all the bytes as one number."""
        return self.extract(int.from_bytes(item, sys.byteorder))

    def store(self, value: Any) -> bytes:
        """Write the bytes of the number."""
        return self.insert(value).to_bytes(self.size, sys.byteorder)

    def parse(self, text: str) -> Any:
        """Read it as the whole type would."""
        return self.inner.parse(text)


class WideCodec(Codec):
    """What an integer of more than 8 bytes, or of 3, means by itself; ``BitsCodec`` finds its bytes."""

    def __init__(self, size: int, *, signed: bool) -> None:
        """Take ``size`` bytes."""
        super().__init__(int_label(8 * size, signed=signed), size, f"{size}s")
        self.signed = signed

    def parse(self, text: str) -> int:
        """Read a decimal, ``0x``, ``0o`` or ``0b`` number."""
        return int_from(text, self.label)


def int_label(bits: int, *, signed: bool) -> str:
    """Name an integer as the kernel does: ``u32``, ``s64``."""
    return f"{'s' if signed else 'u'}{bits}"


def int_range(bits: int, *, signed: bool) -> tuple[int, int]:
    """Give the lowest and the highest integer of so many bits."""
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def int_within(value: Any, low: int, high: int, label: str) -> int:
    """Give back an integer within a range; TypeError or ValueError say what it takes."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{value!r} is no integer: {label} takes {low}..{high}") from None
    if not low <= number <= high:
        raise ValueError(f"{number} does not fit: {label} takes {low}..{high}")
    return number


def int_from(text: str, valid: str) -> int:
    """Read an integer that a person typed."""
    try:
        return int(text.strip(), 0)
    except ValueError:
        raise ValueError(f"{text!r} is no integer: take {valid}") from None
