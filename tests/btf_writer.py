"""BTF written by hand, for tests: the types that a compiler would write, and some that none would."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from sonde.bpf.btf import Btf

Member = tuple[str, int, int] | tuple[str, int, int, int]


class BtfWriter:
    """Collects types; each method gives the id of the type that it adds. ``data`` is the finished BTF."""

    def __init__(self, *, order: str = "=", first_id: int = 1, first_string: int = 0) -> None:
        """Begin; a module's BTF goes on where the ids and strings of its base end."""
        self.order = order
        self.first_string = first_string
        self.types: list[bytes] = []
        self.first_id = first_id
        self.strings = b"" if first_string else b"\0"

    def string(self, text: str) -> int:
        """Add a string, give its offset."""
        if not text:
            return 0
        at = self.first_string + len(self.strings)
        self.strings += text.encode("utf-8", "surrogateescape") + b"\0"
        return at

    def add(
        self, kind: int, name: str, word: int, rest: bytes = b"", *, count: int = 0, flag: int = 0
    ) -> int:
        """Add a type of any kind."""
        info = flag << 31 | kind << 24 | count
        self.types.append(struct.pack(f"{self.order}III", self.string(name), info, word) + rest)
        return self.first_id + len(self.types) - 1

    def words(self, *numbers: int) -> bytes:
        """Pack 32-bit words."""
        return struct.pack(f"{self.order}{len(numbers)}I", *(number & 0xFFFFFFFF for number in numbers))

    def int(self, name: str, size: int, *, signed: bool = False, is_bool: bool = False, bits: int = 0,
            offset: int = 0, is_char: bool = False) -> int:  # fmt: skip
        """Add an integer; ``bits`` defaults to all."""
        encoding = signed | is_char << 1 | is_bool << 2
        return self.add(1, name, size, self.words(encoding << 24 | offset << 16 | (bits or 8 * size)))

    def pointer(self, target: int) -> int:
        """Add a pointer."""
        return self.add(2, "", target)

    def array(self, element: int, count: int) -> int:
        """Add an array; its index has the element's type, for nobody looks at it."""
        return self.add(3, "", 0, self.words(element, element, count))

    def struct(self, name: str, size: int, members: Sequence[Member], *, kind: int = 4) -> int:
        """Add a struct of (name, type, bit offset) or (name, type, bit offset, bit size)."""
        flag = any(len(member) == 4 for member in members)
        rest = b""
        for member in members:
            bits = member[3] if len(member) == 4 else 0
            rest += self.words(self.string(member[0]), member[1], member[2] | bits << 24)
        return self.add(kind, name, size, rest, count=len(members), flag=flag)

    def union(self, name: str, size: int, members: Sequence[Member]) -> int:
        """Add a union."""
        return self.struct(name, size, members, kind=5)

    def enum(self, name: str, values: dict[str, int], *, signed: bool = False, size: int = 4) -> int:
        """Add an enumeration."""
        rest = b"".join(self.words(self.string(each), value) for each, value in values.items())
        return self.add(6, name, size, rest, count=len(values), flag=signed)

    def enum64(self, name: str, values: dict[str, int], *, signed: bool = False) -> int:
        """Add an enumeration of 64 bits."""
        rest = b"".join(self.words(self.string(each), value, value >> 32) for each, value in values.items())
        return self.add(19, name, 8, rest, count=len(values), flag=signed)

    def forward(self, name: str, *, is_union: bool = False) -> int:
        """Add a forward declaration."""
        return self.add(7, name, 0, flag=is_union)

    def typedef(self, name: str, target: int) -> int:
        """Add a typedef."""
        return self.add(8, name, target)

    def volatile(self, target: int) -> int:
        """Add ``volatile``."""
        return self.add(9, "", target)

    def const(self, target: int) -> int:
        """Add ``const``."""
        return self.add(10, "", target)

    def restrict(self, target: int) -> int:
        """Add ``restrict``."""
        return self.add(11, "", target)

    def function(self, name: str, prototype: int, *, linkage: int = 1) -> int:
        """Add a function."""
        return self.add(12, name, prototype, count=linkage)

    def prototype(self, returned: int, parameters: dict[str, int]) -> int:
        """Add the type of a function."""
        rest = b"".join(self.words(self.string(name), id) for name, id in parameters.items())
        return self.add(13, "", returned, rest, count=len(parameters))

    def variable(self, name: str, target: int, *, linkage: int = 1) -> int:
        """Add a global variable."""
        return self.add(14, name, target, self.words(linkage))

    def section(self, name: str, size: int, variables: Sequence[tuple[int, int, int]]) -> int:
        """Add a section of (variable, offset, size)."""
        rest = b"".join(self.words(*placed) for placed in variables)
        return self.add(15, name, size, rest, count=len(variables))

    def float(self, name: str, size: int) -> int:
        """Add a floating point type."""
        return self.add(16, name, size)

    def declaration_tag(self, name: str, target: int, component: int = -1) -> int:
        """Add a tag on a declaration."""
        return self.add(17, name, target, self.words(component))

    def type_tag(self, name: str, target: int) -> int:
        """Add a tag on a type."""
        return self.add(18, name, target)

    def data(self, *, layout: bytes | None = None) -> bytes:
        """Give the BTF; ``layout`` is the section with which Linux 7.1 and later tell the lengths of kinds."""
        types = b"".join(self.types)
        header = [0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self.strings)]
        packed = f"{self.order}HBBIIIII"
        if layout is not None:
            header[3] = 32
            header += [len(types) + len(self.strings), len(layout)]
            packed += "II"
        return struct.pack(packed, *header) + types + self.strings + (layout or b"")

    def btf(self, base: Btf | None = None) -> Btf:
        """Read it back."""
        return Btf(self.data(), base=base)
