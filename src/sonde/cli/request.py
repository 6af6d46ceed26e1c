"""What was asked for, as it would be typed: for headings, and to say why events were filtered."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import click

from sonde.cli.behind import Line
from sonde.exporters.text import visible
from sonde.probe import Probe

_SILENT = {"path", "format", "ready_fd", "for_s"}


def requested(ctx: click.Context, line: Line, *, only: set[str] | None = None) -> list[str]:
    """Give the options that were given, all or ``only`` some, and the command behind ``--`` with all.

    Words may hold any byte but NUL: they are given as every file and terminal takes them.
    """
    words = []
    for parameter in ctx.command.get_params(ctx):
        if not isinstance(parameter, click.Option) or parameter.name is None:
            continue
        if parameter.name in _SILENT or (only is not None and parameter.name not in only):
            continue
        if ctx.get_parameter_source(parameter.name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        flag = max(parameter.opts, key=len)
        words.append(flag if parameter.is_flag else f"{flag} {_quoted(typed(parameter.opts, line.words))}")
    if line.command and only is None:
        words.append(f"-- {shlex.join(line.command)}")
    return [visible(word) for word in words]


def typed(flags: Sequence[str], words: Sequence[str]) -> list[str]:
    """Find what was typed behind a flag, long or short, each time that it is there."""
    found = []
    attached = tuple(f"{flag}=" if flag.startswith("--") else flag for flag in flags)
    for at, word in enumerate(words):
        if word in flags and at + 1 < len(words):
            found.append(words[at + 1])
        elif flag := next((each for each in attached if word.startswith(each)), ""):
            found.append(word.removeprefix(flag))
    return found


def _quoted(found: Sequence[str]) -> str:
    return shlex.quote(",".join(found)) if found else "…"


def selecting(probe: Probe) -> set[str]:
    """Name the options that leave events out."""
    of_processes = ("pid", "children", "comm", "cgroup") if probe.selects_processes else ()
    return {*of_processes, *(f"knob_{knob.name}" for knob in probe.knobs if knob.selects)}
