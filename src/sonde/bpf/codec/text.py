"""Codecs of text and of bytes."""

from __future__ import annotations

from typing import Any

from sonde.bpf.codec.codec import Codec


class CutText(str):
    """Text that ended before its array did, with something other than zeros behind it; ``raw`` is all of it.

    Programs that copy a string into a longer buffer leave such bytes, and they are part of a map's key: encoding
    this text gives them back.
    """

    raw: bytes

    def __new__(cls, text: str, raw: bytes) -> CutText:
        """Keep the bytes with the text."""
        self = super().__new__(cls, text)
        self.raw = raw
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return CutText, (str(self), self.raw)


class TextCodec(Codec):
    """``char[]``: text up to the first NUL, UTF-8; other bytes come through as surrogates and back."""

    loads = stores = True

    def __init__(self, size: int) -> None:
        """Take ``size`` bytes; the last one may be used, the kernel does not insist on a NUL."""
        super().__init__(f"char[{size}]", size, f"{size}s")

    @property
    def valid(self) -> str:
        """How long it may be."""
        return f"{self.label} text of up to {self.size} bytes"

    def load(self, item: bytes) -> str:
        """Cut at the NUL."""
        text = item.rstrip(b"\0")
        if b"\0" in text:
            return CutText(text[: text.index(b"\0")].decode("utf-8", "surrogateescape"), item)
        try:
            return text.decode()  # Twice as fast as naming the error handler, and nearly always right.
        except UnicodeDecodeError:
            return text.decode("utf-8", "surrogateescape")

    def store(self, value: Any) -> bytes:
        """Check the length in bytes."""
        if isinstance(value, CutText) and len(value.raw) == self.size:
            return value.raw
        if isinstance(value, str):
            try:
                value = value.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError:
                raise ValueError(f"{value!r} is no text: it has lone surrogates: take UTF-8") from None
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise TypeError(f"{value!r} is no text: {self.label} takes str or bytes")
        return fitting(bytes(value), self.size, self.label)

    def parse(self, text: str) -> str:
        """Take the text as it is."""
        return text


class BytesCodec(Codec):
    """Bytes as they are: the keys and values of a map without BTF, floats that Python lacks."""

    stores = True

    def __init__(self, size: int, *, label: str = "") -> None:
        """Take exactly ``size`` bytes."""
        super().__init__(label or f"{size} bytes", size, f"{size}s")

    def store(self, value: Any) -> bytes:
        """Check the length."""
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise TypeError(f"{value!r} is not bytes: {self.label} takes exactly {self.size} bytes")
        if memoryview(value).nbytes != self.size:
            raise ValueError(f"{memoryview(value).nbytes} bytes do not fit: {self.label} takes {self.size}")
        return bytes(value)

    def parse(self, text: str) -> bytes:
        """Read hexadecimal digits."""
        try:
            return bytes.fromhex(text.strip().removeprefix("0x"))
        except ValueError:
            raise ValueError(f"{text!r} is not bytes: take {2 * self.size} hexadecimal digits") from None


def fitting(data: bytes, size: int, label: str) -> bytes:
    """Give back data that is not longer than its array; struct fills the rest with zeros."""
    if len(data) > size:
        raise ValueError(f"{len(data)} bytes do not fit: {label} has {size}")
    return data
