"""Whether the types of an object can be followed without end or harm, before libbpf follows them.

libbpf goes through typedefs, arrays and members trusting that the compiler made them end, and keeps sizes in an
``int``. The kernel would refuse such types, but it sees them later.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from struct import Struct as Packed

from sonde.bpf.btf import blob
from sonde.bpf.btf.type import DAMAGED, SIZE_MAX
from sonde.errors import LayoutError

DEPTH_MAX = 128  # types within types by value; the kernel's own nest about twenty deep

_INT, _ARRAY, _STRUCT, _UNION, _VAR, _DATASEC = 1, 3, 4, 5, 14, 15
_ALIASES = frozenset({8, 9, 10, 11, 18})  # typedef, volatile, const, restrict, type tag
_SIZED = frozenset({1, 4, 5, 6, 15, 16, 19})
_REFERENCES = frozenset({2, 8, 9, 10, 11, 12, 14, 17, 18})  # those whose third word is a type
_POINTER_BYTES = 8

_ARRAY_INFO, _MEMBER, _VARIABLE, _PARAMETER = Packed("=III"), Packed("=III"), Packed("=III"), Packed("=II")
_PROTOTYPE = 13


def check_types(data: bytes) -> None:
    """Raise LayoutError unless every type refers to types that exist, ends, and has a size below 2 GiB."""
    types, text, lengths = blob.sections(data, has_base=False)
    try:
        text.decode()
    except UnicodeDecodeError:
        raise _damaged("its names are not text") from None
    starts, names = blob.index(data, types, lengths)
    _Types(data, starts, names, text).check()


class _Types:
    """The types of one object, numbered from 1 as BTF does; 0 is void."""

    def __init__(self, data: bytes, starts: array[int], names: array[int], text: bytes) -> None:
        self.data = data
        self.starts = starts
        self.names = names
        self.text = text
        count = len(starts) + 1
        self.sizes = array("Q", bytes(8 * count))
        self.depths = bytearray(count)
        self.state = bytearray(count)  # 0 not seen, 1 on the way, 2 sound

    def check(self) -> None:
        for id in range(1, len(self.starts) + 1):
            if self.names[id - 1] >= len(self.text):
                raise _damaged(f"the name of type {id} lies beyond the names")
            for target in self._references(id):
                if target > len(self.starts):
                    raise _damaged(f"type {id} refers to type {target}, which does not exist")
        for id in range(1, len(self.starts) + 1):
            self._follow(id)

    def _head(self, id: int) -> tuple[int, int, int, int]:
        """Kind, number of elements, third word, and where the rest begins."""
        _, info, word = blob.TYPE.unpack_from(self.data, self.starts[id - 1])
        return info >> 24 & 0x1F, info & 0xFFFF, word, self.starts[id - 1] + blob.TYPE.size

    def _references(self, id: int) -> Iterator[int]:
        kind, count, word, rest = self._head(id)
        if kind in _REFERENCES:
            yield word
        elif kind == _ARRAY:
            yield from _ARRAY_INFO.unpack_from(self.data, rest)[:2]
        elif kind == _PROTOTYPE:
            yield word
            for number in range(count):
                yield _PARAMETER.unpack_from(self.data, rest + number * _PARAMETER.size)[1]
        else:
            yield from self._parts(id)

    def _parts(self, id: int) -> Iterator[int]:
        """The types that are part of this one by value."""
        kind, count, word, rest = self._head(id)
        if kind in _ALIASES or kind == _VAR:
            yield word
        elif kind == _ARRAY:
            yield _ARRAY_INFO.unpack_from(self.data, rest)[0]
        elif kind in (_STRUCT, _UNION):
            for number in range(count):
                yield _MEMBER.unpack_from(self.data, rest + number * _MEMBER.size)[1]
        elif kind == _DATASEC:
            for number in range(count):
                yield _VARIABLE.unpack_from(self.data, rest + number * _VARIABLE.size)[0]

    def _follow(self, start: int) -> None:
        """Go into the parts first, then settle the type; without recursion, for the depth is what is in doubt."""
        way = [(start, self._parts(start))]
        while way:
            id, parts = way[-1]
            self.state[id] = self.state[id] or 1
            part = next(parts, None)
            if part is None:
                if self.state[id] == 1:
                    self._settle(id)
                way.pop()
            elif part and self.state[part] == 1:
                raise _damaged(f"type {id} contains itself")
            elif part and self.state[part] == 0:
                way.append((part, self._parts(part)))

    def _settle(self, id: int) -> None:
        kind, _, word, rest = self._head(id)
        depth = 1 + max((self.depths[part] for part in self._parts(id)), default=0)
        if kind in _SIZED:
            size = word
        elif kind == _ARRAY:
            element, _, count = _ARRAY_INFO.unpack_from(self.data, rest)
            size = self.sizes[element] * count
        elif kind in _ALIASES or kind == _VAR:
            size = self.sizes[word]
        else:
            size = _POINTER_BYTES if kind == 2 else 0
        if size > SIZE_MAX or (kind == _INT and size > 16):
            raise _damaged(f"type {id} has {size:,} bytes")
        if depth > DEPTH_MAX:
            raise _damaged(f"type {id} has more than {DEPTH_MAX} types within each other")
        self.sizes[id], self.depths[id], self.state[id] = size, depth, 2


def _damaged(why: str) -> LayoutError:
    return LayoutError("read BTF", why=why, hint=DAMAGED)
