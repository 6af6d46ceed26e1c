"""Probes on interfaces: the options that select some, and what a person is told of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from sonde.cli.standard_streams import say

if TYPE_CHECKING:
    from sonde.run import Run


class InterfaceName(click.ParamType[str]):
    """An interface that is there, by name or number, or a pattern, which one that comes later may match."""

    name = "interface"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Look whether it is there."""
        from sonde.errors import AttachError
        from sonde.run.choice import require_interfaces

        try:
            require_interfaces((value,))
        except AttachError as error:
            self.fail(f"{error.why}: {error.hint}", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Offer the names that there are."""
        import socket

        names = (name for _, name in socket.if_nameindex())
        return [click.shell_completion.CompletionItem(name) for name in names if name.startswith(incomplete)]


def interface_options(*, hidden: bool) -> list[click.Parameter]:
    """Make the options; hidden where no probe is on interfaces, so that it can be said why."""
    return [
        click.Option(
            ["--interface", "interfaces"],
            type=InterfaceName(),
            multiple=True,
            metavar="NAME",
            help="Only this interface (name, number, or pattern as 'veth*'); may be given again. All but loopback.",
            hidden=hidden,
        ),
        click.Option(
            ["--exclude-interface", "exclude_interfaces"],
            type=InterfaceName(),
            multiple=True,
            metavar="NAME",
            help="Not this one; may be given again.",
            hidden=hidden,
        ),
    ]


@contextmanager
def told_interfaces(run: Run, *, has_heading: bool) -> Iterator[Callable[[], Sequence[str]]]:
    """Give what tells how a run is on its interfaces, for headings; without one it is told on stderr.

    What has changed by the end is told then.
    """
    found = run.interfaces
    if found is None:
        yield tuple
        return
    from sonde.views.interfaces import interface_lines

    def lines() -> list[str]:
        return interface_lines(found.describe(), found.waits_for())

    if has_heading:
        yield lines
        return
    before = lines()
    _say(before)
    yield tuple
    _say([line for line in lines() if line not in before])


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        say(f"sonde: {line}")
