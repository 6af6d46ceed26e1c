"""What all codecs have in common.

A codec describes one item for the ``struct`` module (``code``) and the way from that item to the Python value and
back (``load``, ``store``). A struct's codec joins the codes of its members into one format, so that it takes a
single call into C for all of them; ``loads`` and ``stores`` tell it which conversions it may leave out.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar

from sonde.errors import LayoutError

Buffer = bytes | bytearray | memoryview


class Codec:
    """How one type becomes a Python value and back.

    ``size`` is in bytes, ``label`` names the type for people (``u32``), ``valid`` says what it takes
    (``u32 0..4294967295``), ``weight`` is how many Python values one of it makes.
    """

    loads: ClassVar[bool] = False  # load changes the item
    stores: ClassVar[bool] = False  # store changes the value, or checks what struct would let pass
    signed = False  # of numbers

    def __init__(self, label: str, size: int, code: str) -> None:
        """Describe a type of ``size`` bytes that is one ``code`` of the struct module."""
        self.label = label
        self.size = size
        self.code = code
        self.weight = 1
        layout = struct.Struct("=" + code)
        self._pack, self._unpack = layout.pack, layout.unpack

    @property
    def valid(self) -> str:
        """Say what values it takes."""
        return self.label

    def decode(self, data: Buffer) -> Any:
        """Turn exactly ``size`` bytes into a value; LayoutError for any other number of bytes."""
        try:
            item = self._unpack(data)[0]
        except struct.error:
            raise self._wrong_size(data) from None
        return self.load(item) if self.loads else item

    def encode(self, value: Any) -> bytes:
        """Turn a value into bytes; ValueError or TypeError say what it takes. Padding is zeros."""
        if not self.stores:
            try:
                return self._pack(value)
            except (struct.error, OverflowError):
                pass  # store says what is wrong, in words.
        return self._pack(self.store(value))

    def parse(self, text: str) -> Any:
        """Read a value that a person typed; ValueError says what it takes. It may still be out of range."""
        raise ValueError(f"{text!r} is no {self.label}: a {self.label} cannot be typed: set it from Python")

    def load(self, item: Any) -> Any:
        """Turn what the struct module gives into the value."""
        return item

    def store(self, value: Any) -> Any:
        """Check a value and turn it into what the struct module takes."""
        return value

    def _wrong_size(self, data: Buffer) -> LayoutError:
        return LayoutError(
            f"read {self.label}", why=f"it has {self.size} bytes, not {memoryview(data).nbytes}"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.valid}>"
