"""Knobs as options: what a probe declares becomes a flag by itself."""

from __future__ import annotations

from typing import Any

import click

from sonde.cli.parameter import Setting
from sonde.probe import Knob


def knob_option(knob: Knob, *, is_hidden: bool) -> click.Option:
    """Make the option; hidden where it goes with none of a verb's outputs, so that it can be said why."""
    names = [knob.flag, f"knob_{knob.name}"]
    text = f"{knob.help[0].upper()}{knob.help[1:]}."
    if knob.type is bool:
        return click.Option(names, is_flag=True, help=text, hidden=is_hidden)
    # Given more than once, lists grow and single values are replaced.
    kind = Setting(knob.name, knob.type)
    return click.Option(
        names, type=kind, metavar=knob.metavar or None, multiple=True, help=text, hidden=is_hidden
    )


def value_of(knob: Knob, given: Any) -> Any:
    """Give the knob's value of what was given, None where nothing was."""
    if knob.type is bool:
        return True if given else None
    if not given:
        return None
    if all(isinstance(value, tuple) for value in given):
        return tuple(item for value in given for item in value)
    return given[-1]
