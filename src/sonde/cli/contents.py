"""What is in an object, without loading it: programs, maps, knobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.cli.destination import Destination
from sonde.cli.watch import is_marker
from sonde.errors import SondeError
from sonde.views.cell import text
from sonde.views.entries import machine_value

if TYPE_CHECKING:
    from sonde.bpf.object import ObjectSpec


def contents_of(spec: ObjectSpec) -> dict[str, Any]:
    """Give all of it as values for JSON."""
    return {
        "object": spec.name,
        "programs": [
            {
                "name": each.name,
                "type": each.type,
                "section": each.section,
                "instructions": each.instruction_count,
                "autoload": each.autoload,
            }
            for each in spec.programs.values()
        ],
        "maps": [
            {
                "name": each.name,
                "type": each.type,
                "key_size_bytes": each.key_size,
                "value_size_bytes": each.value_size,
                "max_entries": each.max_entries,
            }
            for each in spec.maps.values()
            if not each.is_internal
        ],
        "knobs": [_knob(spec, name) for name in spec.knobs if not is_marker(name)],
    }


def _knob(spec: ObjectSpec, name: str) -> dict[str, Any]:
    knob = spec.knobs[name]
    try:
        return {"name": name, "value": machine_value(knob.value), "valid": knob.valid}
    except SondeError as error:
        return {"name": name, "value": None, "valid": f"it cannot be set: {error}"}


def write_contents(spec: ObjectSpec, destination: Destination, format_: str) -> None:
    """Write them for people or machines."""
    found = contents_of(spec)
    if format_ == "json":
        from sonde.views.json import JsonWriter

        JsonWriter(destination.file).line(found)
        return
    from sonde.views.table import grid

    titles = {
        "programs": ("PROGRAM", "TYPE", "SECTION", "INSTRUCTIONS", "LOADED"),
        "maps": ("MAP", "TYPE", "KEY BYTES", "VALUE BYTES", "ENTRIES"),
        "knobs": ("KNOB", "VALUE", "TAKES"),
    }
    is_first = True
    for part, head in titles.items():
        if not found[part]:
            continue
        rows = [[_words(value) for value in each.values()] for each in found[part]]
        right = [
            all(isinstance(value, int) and not isinstance(value, bool) for value in column)
            for column in zip(*(each.values() for each in found[part]), strict=True)
        ]
        if not is_first:
            destination.file.write("\n")
        is_first = False
        for line in grid(head, rows, right=right):
            destination.line(line)


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return text(str(value))
