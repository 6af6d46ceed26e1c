"""Values of knobs, as they come from Python: whether a probe has such knobs, and its output them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sonde.errors import KnobError
from sonde.probe import RATE_MAX, SAMPLE, Knob, Probe, Stream, Table


def known(values: Mapping[str, Any], probe: Probe, output: Table | Stream) -> dict[str, Any]:
    """Give those that are set, texts read as those of flags are; raises KnobError for a knob that there is not, or no value."""
    names = {knob.name for knob in probe.knobs}
    if isinstance(output, Stream):
        names.add(RATE_MAX)
    for name in values:
        if name not in names:
            raise KnobError(
                f"set {name} of probe {probe.name}",
                why="there is no such knob",
                knob=name,
                valid=", ".join(sorted(names)) or "none",
            )
    if values.get(SAMPLE) == 0:
        raise KnobError(
            f"set {SAMPLE} of probe {probe.name}", why="0 is no sample", hint="1 is all", knob=SAMPLE
        )
    readers = {knob.name: knob for knob in probe.knobs}
    return {
        name: _read(readers[name], value, probe) if name in readers else value
        for name, value in values.items()
        if value is not None
    }


def _read(knob: Knob, value: Any, probe: Probe) -> Any:
    # Of numbers the kernel's types say what they take.
    if not isinstance(value, str) or knob.type in (int, bool):
        return value
    try:
        return knob.type(value)
    except ValueError as error:
        raise KnobError(f"set {knob.name} of probe {probe.name}", why=str(error), knob=knob.name) from error


def refuse_misplaced(values: Mapping[str, Any], probe: Probe, output: Table | Stream) -> None:
    """Raise KnobError for a knob that is set, and that this output has not: it would change nothing."""
    for knob in probe.knobs:
        if values.get(knob.name) and not knob.goes_with(output):
            raise KnobError(
                f"set {knob.name} of probe {probe.name}",
                why=f"output {output.name} has no such knob",
                hint=f"it goes with {' or '.join(knob.outputs)}",
                knob=knob.name,
            )
