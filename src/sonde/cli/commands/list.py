"""``sonde list``: the probes, and what this kernel can run of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sonde.cli.destination import Destination
from sonde.cli.rehearsal import Rehearsal, rehearse
from sonde.cli.verb import verbs_for
from sonde.probe import Probe
from sonde.probes import all_probes

if TYPE_CHECKING:
    from sonde.views.line import Line

EXAMPLES = """\
\b
Examples:
  sonde list           the probes, and whether this kernel runs them
  sonde list --json    the same for machines, one object a line
"""


@click.command(name="list", short_help="The probes, and what this kernel can run of them.", epilog=EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each probe.")
def COMMAND(*, as_json: bool) -> None:  # noqa: N802  # found by this name
    """Show every probe with its tables, streams and knobs, and whether this kernel can run each: tried, not guessed."""
    with Destination(for_machines=as_json) as destination:
        for at, found in enumerate(all_probes().values()):
            rehearsals = rehearse(found)
            if as_json:
                from sonde.views.json import JsonWriter

                JsonWriter(destination.file).line(_as_dict(found, rehearsals))
                continue
            if at:
                destination.file.write("\n")
            for line in _drawn(found, rehearsals):
                destination.line(line)


def _as_dict(probe: Probe, rehearsals: list[Rehearsal]) -> dict[str, Any]:
    return {
        "probe": probe.name,
        "summary": probe.summary,
        "outputs": [
            {
                "name": each.output.name,
                "kind": each.kind,
                "verbs": verbs_for(each.output),
                "summary": each.output.summary,
                "columns": list(each.output.columns),
                "runs": each.value,
                "reason": each.reason or None,
                "hooks": list(each.hooks),
                "map_memory_bytes": each.chosen.get("map_memory_bytes"),
                "map_memory_bytes_128_cpus": each.chosen.get("map_memory_bytes_128_cpus"),
            }
            for each in rehearsals
        ],
        "knobs": [
            {"name": knob.name, "flag": knob.flag, "help": knob.help, "outputs": list(knob.outputs)}
            for knob in probe.knobs
        ],
    }


def _drawn(probe: Probe, rehearsals: list[Rehearsal]) -> list[Line]:
    from sonde.views.cell import size

    lines: list[Line] = [[(probe.name, "bold"), (f"  {probe.summary}", "")]]
    width = max(len(each.output.name) for each in rehearsals)
    shared = _shared_hooks(rehearsals)
    for each in rehearsals:
        lines.append(
            [
                ("  ", ""),
                MARKS[each.value],
                (f"  {each.kind:<6}  ", "dim"),
                (f"{each.output.name:<{width}}", "cyan"),
                (f"  {each.output.summary}", ""),
            ]
        )
        if each.value:
            hooks = () if shared else (", ".join(each.hooks),)
            told = (", ".join(verbs_for(each.output)), *hooks, f"{size(each.memory_bytes)} of maps")
            lines.append([(f"     {'; '.join(told)}", "dim")])
        else:
            lines.append([(f"     {each.reason}", "red" if each.value is False else "yellow")])
    if shared:
        lines.append([("  hooks  ", "dim"), (" ".join(shared), "")])
    if probe.knobs:
        lines.append([("  knobs  ", "dim"), (" ".join(knob.flag for knob in probe.knobs), "")])
    return lines


def _shared_hooks(rehearsals: list[Rehearsal]) -> tuple[str, ...]:
    """Give the hooks that all outputs have which run here; nothing where they differ."""
    found = {each.hooks for each in rehearsals if each.value}
    return next(iter(found)) if len(found) == 1 else ()


MARKS: dict[bool | None, tuple[str, str]] = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}
"""Works, does not, could not be tried."""
