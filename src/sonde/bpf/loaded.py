"""What can be read of a loaded object, whoever loaded it: an ``Object``, or one received from another process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sonde.bpf.btf import Btf
    from sonde.bpf.knob import Globals
    from sonde.bpf.map import Map
    from sonde.bpf.program_info import ProgramInfo


class Loaded(Protocol):
    """The reading side of a loaded object: maps, live globals, programs' counts and types."""

    @property
    def maps(self) -> Mapping[str, Map]:
        """Give the maps by name."""
        ...

    @property
    def variables(self) -> Globals:
        """Give the live globals by name."""
        ...

    @property
    def programs(self) -> Mapping[str, ProgramInfo]:
        """Give the programs that are loaded, by name."""
        ...

    @property
    def btf(self) -> Btf | None:
        """Give the object's types; None where it was compiled without."""
        ...
