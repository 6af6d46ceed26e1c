"""BTF: the types of a BPF object, of the kernel, or of one of its modules.

The bytes are read here and not through libbpf, which would be asked a hundred thousand times for the kernel's
types: one pass finds where each type begins, and a type is read when somebody asks for it. What libbpf gives is
copied, so a ``Btf`` holds no resource, outlives the object that it came from, and may be used by any thread.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from struct import Struct as Packed
from typing import Any, Self, TypeVar, overload

from sonde.bpf.btf.blob import TYPE, index, sections
from sonde.bpf.btf.declaration import DataSec, DeclTag, Func, FuncProto, Parameter, Placed, Var
from sonde.bpf.btf.type import (
    DAMAGED,
    Array,
    BtfType,
    Const,
    Enum,
    Enum64,
    Float,
    Fwd,
    Int,
    Member,
    Pointer,
    Restrict,
    Struct,
    Typedef,
    TypeTag,
    Union,
    Unknown,
    Void,
    Volatile,
)
from sonde.errors import LayoutError, NotSupportedError
from sonde.nearest import nearest

KERNEL = "/sys/kernel/btf"

Kind = TypeVar("Kind", bound=BtfType)

_WORD = Packed("=I")
_ARRAY = Packed("=III")  # type, index_type, nelems
_MEMBER = Packed("=III")  # name_off, type, offset
_PLACED = Packed("=III")  # type, offset, size
_PARAMETER = Packed("=II")  # name_off, type
_ENUM = {True: Packed("=Ii"), False: Packed("=II")}  # name_off, value; by signedness
_ENUM64 = {True: Packed("=IIi"), False: Packed("=III")}  # name_off, low, high
_LINKAGE = ("static", "global", "extern")


class Btf:
    """The types in one piece of BTF, by id and by name; iteration and ``len`` include ``void``, which is id 0.

    With a ``base`` (a module's BTF on top of the kernel's) ids and names go on where those of the base end.
    """

    def __init__(self, data: bytes, *, base: Btf | None = None) -> None:
        """Read BTF from bytes; LayoutError where they are not BTF of this machine's byte order."""
        self._data = bytes(data)
        self._base = base
        types, self._strings, lengths = sections(self._data, has_base=base is not None)
        self._first: int = len(base) if base else 1
        self._first_string: int = base._first_string + len(base._strings) if base else 0
        self._starts, self._name_offsets = index(self._data, types, lengths)
        self._types: dict[int, BtfType] = {}

    @classmethod
    def kernel(cls, module: str | None = None, *, base: Btf | None = None) -> Self:
        """Read the running kernel's own BTF, or that of one of its modules; Linux 5.4, modules 5.11.

        ``base`` is the kernel's own where it was read already. Raises NotSupportedError where the kernel was built
        without BTF, or the module is not loaded.
        """
        base = (base or cls.kernel()) if module else None
        path = f"{KERNEL}/{module or 'vmlinux'}"
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError as error:
            loaded = " and the module has to be loaded" if module else ""
            raise NotSupportedError(
                f"BTF of {module or 'the kernel'}",
                operation="read",
                subject=path,
                provides=f"a kernel with CONFIG_DEBUG_INFO_BTF=y{loaded}",
            ) from error
        return cls(data, base=base)

    @classmethod
    def of_object(cls, handle: Any) -> Self | None:
        """Copy the BTF of an opened object (an ``ObjectHandle``); None where it was compiled without."""
        from sonde._libbpf import lib

        pointer = lib.bpf_object__btf(handle.pointer)
        return cls(_copy(pointer, handle.name)) if pointer else None

    @classmethod
    def of_kernel_id(cls, number: int) -> Self:
        """Copy BTF that is loaded in the kernel by its id, as a map's or program's info names it; Linux 4.18."""
        from sonde._libbpf import lib
        from sonde._libbpf.check import check_pointer

        subject = f"with id {number}"
        pointer = check_pointer(
            lib.btf__load_from_kernel_by_id(number), "read BTF", subject, capability="CAP_SYS_ADMIN"
        )
        try:
            return cls(_copy(pointer, subject))
        finally:
            lib.btf__free(pointer)

    @property
    def base(self) -> Btf | None:
        """The BTF that this one goes on from."""
        return self._base

    @property
    def first_id(self) -> int:
        """The first id that is not the base's."""
        return self._first

    def __len__(self) -> int:
        return self._first + len(self._starts)

    def __iter__(self) -> Iterator[BtfType]:
        return map(self.type, range(len(self)))

    def __repr__(self) -> str:
        return f"<Btf: {len(self)} types>"

    def type(self, id: int) -> BtfType:
        """Give the type with this id; LayoutError where there is none."""
        found = self._types.get(id)
        if found is not None:
            return found
        if 0 < id < self._first and self._base is not None:
            return self._base.type(id)
        if not 0 <= id < len(self):
            raise LayoutError(f"read BTF type {id}", why=f"there are {len(self)} types", hint=DAMAGED)
        # Two threads may both come here; the first one's type is everybody's.
        return self._types.setdefault(id, self._read(id))

    @overload
    def find(self, name: str) -> BtfType | None: ...

    @overload
    def find(self, name: str, kind: builtins.type[Kind]) -> Kind | None: ...

    def find(self, name: str, kind: builtins.type[BtfType] = BtfType) -> BtfType | None:
        """Give the first type of this name, and of this kind (a class: ``Struct``); None where there is none.

        It searches, which takes milliseconds in the kernel's BTF: keep the answer.
        """
        found = self._base.find(name, kind) if self._base else None
        return found or next((each for each in self._named(name) if isinstance(each, kind)), None)

    def require(self, name: str, kind: builtins.type[Kind]) -> Kind:
        """Give the type that ``find`` finds; LayoutError with the nearest names where it finds none."""
        found = self.find(name, kind)
        if found is None:
            names = {each.name for each in self if isinstance(each, kind)}
            near = nearest(name, names)
            raise LayoutError(
                f"find {kind.kind} {name}",
                why="the BTF has none",
                hint=f"did you mean {' or '.join(near)}?" if near else "look at it with: bpftool btf dump",
            )
        return found

    def name_of(self, id: int) -> str:
        """Name a type in one word, without following it further: ``task_struct``, ``pointer``, ``void``."""
        if id == 0:
            return "void"
        named = self.type(id)
        return named.name or named.kind

    def _named(self, name: str) -> Iterator[BtfType]:
        # Strings may share their tails ("x" within "max"), so that a name can begin anywhere.
        text = name.encode("utf-8", "surrogateescape") + b"\0"
        starts: set[int] = set()
        found = self._strings.find(text) if name else -1
        while found >= 0:
            starts.add(found + self._first_string)
            found = self._strings.find(text, found + 1)
        # A module's types may be named by a string of the kernel's.
        base = self._base
        for number, offset in enumerate(self._name_offsets, self._first):
            if offset in starts or (
                0 < offset < self._first_string and base and base._string(offset) == name
            ):
                yield self.type(number)

    def _string(self, offset: int) -> str:
        if offset < self._first_string and self._base is not None:
            return self._base._string(offset)
        start = offset - self._first_string
        if start >= len(self._strings):
            if offset == 0:
                return ""
            raise LayoutError("read a name in BTF", why=f"string {offset} lies outside", hint=DAMAGED)
        end = self._strings.index(b"\0", start)
        return self._strings[start:end].decode("utf-8", "surrogateescape")

    def _read(self, id: int) -> BtfType:
        if id == 0:
            return Void(self, 0, "void", 0)
        start = self._starts[id - self._first]
        name, info, word = TYPE.unpack_from(self._data, start)
        number = info >> 24 & 0x7F
        read = _READERS.get(number, _read_unknown)
        return read(self, (self, id, self._string(name), word), info, start + TYPE.size)

    def _elements(self, layout: Packed, start: int, info: int) -> Iterator[tuple[Any, ...]]:
        count = info & 0xFFFFFF
        return layout.iter_unpack(self._data[start : start + count * layout.size])


Head = tuple[Btf, int, str, int]
Reader = Callable[[Btf, Head, int, int], BtfType]


def _simple(kind: type[BtfType]) -> Reader:
    return lambda btf, head, info, start: kind(*head)


def _read_int(btf: Btf, head: Head, info: int, start: int) -> BtfType:
    (word,) = _WORD.unpack_from(btf._data, start)
    encoding, offset, bits = word >> 24 & 0xF, word >> 16 & 0xFF, word & 0xFF
    # clang never sets BTF's bit for char, and gcc sets it for unsigned char too: only the name tells text.
    is_char = head[2] == "char" and head[3] == 1
    if bits == 0 or offset + bits > 8 * head[3]:
        raise LayoutError(f"read int {head[2]}", why=f"it has {bits} bits in {head[3]} bytes", hint=DAMAGED)
    return Int(*head, bits, offset, bool(encoding & 1), is_char, bool(encoding & 4))


def _read_array(btf: Btf, head: Head, info: int, start: int) -> BtfType:
    element, _, count = _ARRAY.unpack_from(btf._data, start)
    return Array(*head, element, count)


def _read_members(kind: type[Struct] | type[Union]) -> Reader:
    def read(btf: Btf, head: Head, info: int, start: int) -> BtfType:
        elements = btf._elements(_MEMBER, start, info)
        if info >> 31:  # kind_flag: the offset word holds the size of a bit-field too
            members = [
                Member(btf, btf._string(name), id, offset & 0xFFFFFF, offset >> 24)
                for name, id, offset in elements
            ]
        else:
            members = [Member(btf, btf._string(name), id, offset, 0) for name, id, offset in elements]
        return kind(*head, tuple(members))

    return read


def _read_enum(btf: Btf, head: Head, info: int, start: int) -> BtfType:
    signed = bool(info >> 31)
    elements = btf._elements(_ENUM[signed], start, info)
    return Enum(*head, signed, tuple((btf._string(name), value) for name, value in elements))


def _read_enum64(btf: Btf, head: Head, info: int, start: int) -> BtfType:
    signed = bool(info >> 31)
    elements = btf._elements(_ENUM64[signed], start, info)
    return Enum64(*head, signed, tuple((btf._string(name), high << 32 | low) for name, low, high in elements))


def _read_fwd(btf: Btf, head: Head, info: int, start: int) -> BtfType:
    return Fwd(*head, bool(info >> 31))


def _read_func(btf: Btf, head: Head, info: int, start: int) -> BtfType:
    return Func(*head, _linkage(info & 0xFFFFFF))


def _read_func_proto(btf: Btf, head: Head, info: int, start: int) -> BtfType:
    elements = btf._elements(_PARAMETER, start, info)
    return FuncProto(*head, tuple(Parameter(btf, btf._string(name), id) for name, id in elements))


def _read_var(btf: Btf, head: Head, info: int, start: int) -> BtfType:
    (linkage,) = _WORD.unpack_from(btf._data, start)
    return Var(*head, _linkage(linkage))


def _read_data_sec(btf: Btf, head: Head, info: int, start: int) -> BtfType:
    elements = btf._elements(_PLACED, start, info)
    return DataSec(*head, tuple(Placed(btf, *element) for element in elements))


def _read_decl_tag(btf: Btf, head: Head, info: int, start: int) -> BtfType:
    (component,) = _WORD.unpack_from(btf._data, start)
    return DeclTag(*head, component - (1 << 32) if component >> 31 else component)


def _read_unknown(btf: Btf, head: Head, info: int, start: int) -> BtfType:
    return Unknown(*head, info >> 24 & 0x7F)


_READERS: dict[int, Reader] = {
    1: _read_int,
    2: _simple(Pointer),
    3: _read_array,
    4: _read_members(Struct),
    5: _read_members(Union),
    6: _read_enum,
    7: _read_fwd,
    8: _simple(Typedef),
    9: _simple(Volatile),
    10: _simple(Const),
    11: _simple(Restrict),
    12: _read_func,
    13: _read_func_proto,
    14: _read_var,
    15: _read_data_sec,
    16: _simple(Float),
    17: _read_decl_tag,
    18: _simple(TypeTag),
    19: _read_enum64,
}


def _linkage(number: int) -> str:
    return _LINKAGE[number] if number < len(_LINKAGE) else f"linkage {number}"


def _copy(pointer: Any, subject: str) -> bytes:
    from sonde._libbpf import ffi, lib
    from sonde._libbpf.check import check_pointer

    size = ffi.new("__u32 *")
    raw = check_pointer(lib.btf__raw_data(pointer, size), "read BTF", subject)
    return bytes(ffi.buffer(raw, size[0]))
