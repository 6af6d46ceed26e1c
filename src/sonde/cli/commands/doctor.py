"""``sonde doctor``: what this machine allows, tried, and how to mend what it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sonde.cli.checkup import groups
from sonde.cli.checkup.check import Check
from sonde.cli.commands.list import MARKS
from sonde.cli.destination import Destination

if TYPE_CHECKING:
    from sonde.views.line import Line

NAME_WIDTH = 26
EXAMPLES = """\
\b
Examples:
  sudo sonde doctor            green or red, with the exact fix
  sonde doctor --json          one object for each check
  sudo sonde doctor --clean    remove what a killed sonde has left
"""


@click.command(
    name="doctor", short_help="What this machine allows, and how to mend what not.", epilog=EXAMPLES
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each check.")
@click.option(
    "--clean", is_flag=True, help="Remove TC filters that a killed sonde has left; check nothing else."
)
def COMMAND(*, as_json: bool, clean: bool) -> int:  # noqa: N802  # found by this name
    """Try what sonde needs and what it can use, and say how to get what is missing.

    Exit status: 0 when sonde can work here, 1 when something is red that it cannot do without.
    """
    with Destination(for_machines=as_json) as destination:
        if clean:
            return _clean(destination)
        fatal = []
        for title, checks in groups():
            if not as_json:
                destination.line([(title, "bold")])
            for check in checks:
                _show(check, destination, title=title, as_json=as_json)
                if check.is_fatal:
                    fatal.append(check.name)
                destination.file.flush()
            if not as_json:
                destination.line([])
        if not as_json:
            destination.line(_verdict(fatal))
    return 1 if fatal else 0


def _verdict(fatal: list[str]) -> Line:
    if fatal:
        return [("✗", "red"), (f" sonde cannot do its work here, because of: {', '.join(fatal)}", "bold")]
    return [("✓", "green"), (" sonde works here", "bold")]


def _show(check: Check, destination: Destination, *, title: str, as_json: bool) -> None:
    if as_json:
        from sonde.views.json import JsonWriter

        JsonWriter(destination.file).line({"group": title, **check.as_dict()})
        return
    from sonde.views.cell import text

    style = {True: "", False: "red", None: "yellow"}[check.value]
    destination.line(
        [("  ", ""), MARKS[check.value], (f" {check.name:<{NAME_WIDTH}} ", ""), (text(check.found), style)]
    )
    if check.fix and check.value is not True:
        destination.line([(f"    {'':<{NAME_WIDTH}} → {text(check.fix)}", "bold")])


def _clean(destination: Destination) -> int:
    from sonde.cli.checkup.leftovers import clean

    removed = clean()
    for each in removed:
        destination.line(
            [
                (
                    f"removed the TC filter of program {each.program_id} from {each.interface} {each.direction}",
                    "",
                )
            ]
        )
    if not removed:
        destination.line([("there was nothing to remove", "")])
    return 0
