"""What ``sonde load --set`` may set before an object is loaded: its knobs, and the sizes of its maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonde.cli.parameter import one_of
from sonde.errors import CommandError

if TYPE_CHECKING:
    from sonde.bpf.object import ObjectSpec

SIZES = ("max_entries", "value_size")
"""What ``MAP.…`` can be: objects of other people's tools leave these for the program that loads them."""

LARGEST = 2**32 - 1


def set_text(spec: ObjectSpec, name: str, text: str) -> None:
    """Set what a person typed as ``name=text``; raises CommandError or KnobError, which say what is valid."""
    map_name, dot, size = name.rpartition(".")
    if not dot:
        spec.knobs[name].set_text(text)
        return
    try:
        one_of(map_name, [each for each in spec.maps if not spec.maps[each].is_internal], noun="map")
        one_of(size, SIZES, noun="size of a map")
        setattr(spec.maps[map_name], size, _number(text))
    except ValueError as error:
        raise CommandError(f"set {name}", why=str(error), status=2) from None


def _number(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 < number <= LARGEST:
        raise ValueError(f"{text!r} is no size: give a number from 1 to {LARGEST:,}")
    return number
