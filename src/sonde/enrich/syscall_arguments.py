"""Arguments of system calls: how many a call has, and what they are called."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from sonde.enrich.syscall_name import NATIVE

ARGUMENT = "sonde_argument_t"
"""The typedef of the registers that hold arguments: probes/_include/types.bpf.h."""

# These machines hand over the last two in another order (CONFIG_CLONE_BACKWARDS).
_OTHERWISE = {"aarch64": "clone clone_flags newsp *parent_tidptr tls *child_tidptr"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument's name, and whether its register holds an address, or a signed number of 32 bits."""

    name: str
    is_address: bool = False
    is_signed: bool = False

    def value(self, register: int) -> int:
        """Give what a register means: AT_FDCWD is -100, whatever stands in the upper half."""
        if not self.is_signed:
            return register
        low = register & 0xFFFF_FFFF
        return low - (1 << 32) if low >> 31 else low


class Arguments(list[int]):
    """The registers that a call looks at, as many as it has arguments, with their ``parameters``.

    All six, without names, where the call is not known: ``parameters`` is None.
    """

    __slots__ = ("parameters",)

    def __init__(self, registers: Sequence[int], parameters: tuple[Parameter, ...] | None) -> None:
        super().__init__(registers if parameters is None else registers[: len(parameters)])
        self.parameters = parameters


def parameters_of(
    syscall: str, abi: int = NATIVE, machine: str | None = None
) -> tuple[Parameter, ...] | None:
    """Give a call's parameters by its name; None where they are not known.

    Of 32-bit calls they are not: those hand over a 64-bit argument in two registers.
    """
    return _parameters(machine or os.uname().machine).get(syscall) if abi == NATIVE else None


@cache
def _parameters(machine: str) -> Mapping[str, tuple[Parameter, ...]]:
    from sonde.enrich.argument_table import ARGUMENTS

    found = {}
    for text in (*ARGUMENTS.split(";"), *filter(None, [_OTHERWISE.get(machine)])):
        name, *words = text.split()
        found[name] = tuple(
            Parameter(word.lstrip("*-"), is_address=word[0] == "*", is_signed=word[0] == "-")
            for word in words
        )
    return MappingProxyType(found)
