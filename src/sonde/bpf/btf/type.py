"""The kinds of C types that BTF knows, one class each.

A type belongs to a ``Btf`` and is made once by it, so types are compared by identity. It refers to other types
by id and looks them up when asked: ``struct list_head``, which points to itself, is no problem.

These are values: nothing changes them once they are made. They are no dataclasses because twenty of those cost as much
at start-up as the rest of sonde's imports together (1.7 ms each), and the kernel's BTF makes 120,000 of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sonde.errors import LayoutError

if TYPE_CHECKING:
    from sonde.bpf.btf.btf import Btf

POINTER_SIZE = 8  # BPF is a 64-bit machine, and sonde runs on 64-bit kernels only.
CHAIN_MAX = 64  # typedefs and qualifiers in a row, dimensions of an array; the kernel stops at 32
DAMAGED = "the BTF is damaged: compile the object again"
SIZE_MAX = (1 << 31) - 1  # NumPy's limit, and far beyond any map value


class Part:
    """A piece of BTF that says ``own`` about itself, beside the BTF that it belongs to; equal if it says the same."""

    __slots__ = ("btf",)
    own: ClassVar[tuple[str, ...]] = ()
    btf: Btf

    def __init__(self, btf: Btf, *own: Any) -> None:
        """Take the members that the class names in ``own``, in their order."""
        self.btf = btf
        for name, value in zip(self.own, own, strict=True):
            setattr(self, name, value)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            getattr(self, name) == getattr(other, name) for name in self.own
        )

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self.own)))

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.own)
        return f"{type(self).__name__}({told})"


class BtfType:
    """One C type; ``id`` is its number in ``btf``, ``name`` is empty where C gives none."""

    __slots__ = ("btf", "id", "name", "word")
    own: ClassVar[tuple[str, ...]] = ()
    """What a kind says of itself beside its name, in the order of its constructor."""

    kind: ClassVar[str]
    btf: Btf
    id: int
    name: str
    # The third word of every BTF type: a size for some kinds, the id of another type for others.
    word: int

    def __init__(self, btf: Btf, id: int, name: str, word: int, *own: Any) -> None:
        """Take what all kinds have, then what the class names in ``own``."""
        self.btf = btf
        self.id = id
        self.name = name
        self.word = word
        for member, value in zip(self.own, own, strict=True):
            setattr(self, member, value)

    def __repr__(self) -> str:
        told = "".join(f", {member}={getattr(self, member)!r}" for member in self.own)
        return f"{type(self).__name__}(id={self.id}, name={self.name!r}{told})"

    @property
    def size(self) -> int:
        """Size in bytes; LayoutError for what has none (a function, a forward declaration)."""
        raise LayoutError(
            f"take the size of {self}", why=f"a {self.kind} has none", hint="use a complete type"
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.name or '(anonymous)'}"


class Sized(BtfType):
    """A type that carries its own size."""

    __slots__ = ()

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.word


class Reference(BtfType):
    """A type that refers to another: its ``target``."""

    __slots__ = ()

    @property
    def target(self) -> BtfType:
        """The type referred to."""
        return self.btf.type(self.word)


class Alias(Reference):
    """A type with the layout of its ``target``."""

    __slots__ = ()

    @property
    def size(self) -> int:
        """Size in bytes, of the target."""
        return resolve(self).size


class Void(BtfType):
    """C's ``void``; id 0 of every BTF."""

    __slots__ = ()
    kind = "void"

    def __str__(self) -> str:
        return "void"


class Int(Sized):
    """An integer of ``bits`` bits, normally all of its bytes; ``offset`` is where they begin."""

    __slots__ = own = ("bits", "offset", "signed", "is_char", "is_bool")
    bits: int
    offset: int
    signed: bool
    is_char: bool
    is_bool: bool
    kind = "int"

    @property
    def is_whole(self) -> bool:
        """Tell whether all the bytes are used; old compilers wrote bit-fields as integers with fewer bits."""
        return self.offset == 0 and self.bits == 8 * self.size

    def __str__(self) -> str:
        return self.name


class Float(Sized):
    """A floating point number of ``size`` bytes."""

    __slots__ = ()
    kind = "float"

    def __str__(self) -> str:
        return self.name


class Pointer(Reference):
    """A pointer to ``target``."""

    __slots__ = ()
    kind = "pointer"

    @property
    def size(self) -> int:
        """Size in bytes of any pointer."""
        return POINTER_SIZE

    def __str__(self) -> str:
        return f"pointer to {self.btf.name_of(self.word)}"


class Array(BtfType):
    """``count`` times ``element``; several dimensions are arrays of arrays, the outermost first."""

    __slots__ = own = ("element_id", "count")
    element_id: int
    count: int
    kind = "array"

    @property
    def element(self) -> BtfType:
        """The type of one element."""
        return self.btf.type(self.element_id)

    @property
    def size(self) -> int:
        """Size in bytes of all elements; LayoutError if that is more than any program can have."""
        total, step = 1, resolve(self)
        for _ in range(CHAIN_MAX):
            if not isinstance(step, Array):
                total *= step.size
                if total > SIZE_MAX:
                    raise LayoutError(f"take the size of {self}", why=f"it is {total} bytes", hint=DAMAGED)
                return total
            total *= step.count
            step = resolve(step.element)
        raise LayoutError(f"take the size of {self}", why="it has too many dimensions", hint=DAMAGED)

    def __str__(self) -> str:
        return f"{self.btf.name_of(self.element_id)}[{self.count}]"


class Member(Part):
    """One member of a struct or union exactly as BTF says it; ``fields_of`` gives the tidy view.

    ``bit_size`` is 0 unless it is a bit-field.
    """

    __slots__ = own = ("name", "type_id", "bit_offset", "bit_size")
    name: str
    type_id: int
    bit_offset: int
    bit_size: int

    @property
    def type(self) -> BtfType:
        """The declared type."""
        return self.btf.type(self.type_id)


class Union(Sized):
    """A C union: its members share their bytes."""

    __slots__ = own = ("members",)
    members: tuple[Member, ...]
    kind = "union"


class Struct(Sized):
    """A C struct."""

    __slots__ = own = ("members",)
    members: tuple[Member, ...]
    kind = "struct"


class Enum(Sized):
    """An enumeration: names and their values, in the order of declaration."""

    __slots__ = own = ("signed", "values")
    signed: bool
    values: tuple[tuple[str, int], ...]
    kind = "enum"


class Enum64(Enum):
    """An enumeration with values of 64 bits."""

    __slots__ = ()


class Typedef(Alias):
    """Another name for ``target``."""

    __slots__ = ()
    kind = "typedef"

    def __str__(self) -> str:
        return self.name


class Modifier(Alias):
    """A qualifier or tag around ``target``; it changes neither size nor layout."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.btf.name_of(self.word)}"


class Const(Modifier):
    """``const`` target."""

    __slots__ = ()
    kind = "const"


class Volatile(Modifier):
    """``volatile`` target."""

    __slots__ = ()
    kind = "volatile"


class Restrict(Modifier):
    """``restrict`` target."""

    __slots__ = ()
    kind = "restrict"


class TypeTag(Modifier):
    """A tag such as ``__user`` or ``__percpu``, its ``name``, on target."""

    __slots__ = ()
    kind = "type tag"


class Fwd(BtfType):
    """A struct or union that is declared and not defined."""

    __slots__ = own = ("is_union",)
    is_union: bool
    kind = "forward declaration"


class Unknown(BtfType):
    """A kind that is younger than this sonde, skipped by the lengths that the BTF gives for it."""

    __slots__ = own = ("number",)
    number: int
    kind = "unknown kind"


def resolve(declared: BtfType) -> BtfType:
    """Strip typedefs, qualifiers, tags, and a variable around a type: what is left tells the layout."""
    step = declared
    for _ in range(CHAIN_MAX):
        if not isinstance(step, Alias):
            return step
        step = step.target
    raise LayoutError(f"resolve type {declared.id}", why="its typedefs never end", hint=DAMAGED)


def is_volatile(declared: BtfType) -> bool:
    """Tell whether ``volatile`` is among the qualifiers of a type, or of the elements of an array."""
    step = declared
    for _ in range(CHAIN_MAX):
        if isinstance(step, Volatile):
            return True
        if isinstance(step, Alias):
            step = step.target
        elif isinstance(step, Array):
            step = step.element
        else:
            return False
    return False
