"""What BTF tells of functions, variables and their sections: declarations, which have types of values in them.

They are values like the types (type.py), and numbered with them.
"""

from __future__ import annotations

from sonde.bpf.btf.type import Alias, BtfType, Part, Reference, Sized


class FuncProto(Reference):
    """The type of a function: what it returns (``target``) and its parameters."""

    __slots__ = own = ("parameters",)
    parameters: tuple[Parameter, ...]
    kind = "function type"


class Parameter(Part):
    """One parameter of a function; without a name and of type ``void`` it stands for ``...``."""

    __slots__ = own = ("name", "type_id")
    name: str
    type_id: int

    @property
    def type(self) -> BtfType:
        """The declared type."""
        return self.btf.type(self.type_id)


class Func(Reference):
    """A function by name; ``target`` is its FuncProto, ``linkage`` static, global or extern."""

    __slots__ = own = ("linkage",)
    linkage: str
    kind = "function"


class Var(Alias):
    """A global variable by name, of type ``target``; ``linkage`` is static, global or extern."""

    __slots__ = own = ("linkage",)
    linkage: str
    kind = "variable"


class Placed(Part):
    """Where a global variable lies in its section, in bytes."""

    __slots__ = own = ("type_id", "offset", "size")
    type_id: int
    offset: int
    size: int

    @property
    def variable(self) -> BtfType:
        """The variable, a ``Var`` (or an extern ``Func`` in the section ``.ksyms``)."""
        return self.btf.type(self.type_id)


class DataSec(Sized):
    """A section of global variables: ``.data``, ``.rodata``, ``.maps``."""

    __slots__ = own = ("variables",)
    variables: tuple[Placed, ...]
    kind = "section"


class DeclTag(Reference):
    """A tag, its ``name``, on a declaration or, where ``component`` is not -1, on one of its parts."""

    __slots__ = own = ("component",)
    component: int
    kind = "declaration tag"
