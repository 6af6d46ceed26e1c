"""``sonde run``: the agent, which measures and exports for weeks."""

from __future__ import annotations

from collections.abc import Sequence

import click

from sonde.cli.parameter import Descriptor, Duration, OneOf

EXAMPLES = """\
\b
Examples:
  sudo sonde run                                           processes and system calls, on http://127.0.0.1:9464/metrics
  sudo sonde run --for 1m --set otlp.endpoint=http://localhost:4318
  sudo sonde run -c /etc/sonde/sonde.toml                  as the file says; SIGHUP reads it again
  sonde config example > sonde.toml                        a file to begin with
"""


def _assignments(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, sign, text = value.partition("=")
        if not sign or not name:
            raise click.BadParameter(
                f"{value!r} is no assignment: give --set KEY=VALUE, as --set interval=1s", ctx, param
            )
        pairs[name.strip()] = text
    return pairs


@click.command(name="run", short_help="The agent: measure and export for weeks.", epilog=EXAMPLES)
@click.option("-c", "--config", "path", metavar="FILE", help="Read FILE (TOML); SIGHUP reads it again.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", callback=_assignments,
    help="A key of the configuration, in the place of what file and environment say; may be given again.",
)  # fmt: skip
@click.option(
    "--for", "for_s", type=Duration(), metavar="TIME", help="End after 5s, 2m, 1h; else SIGTERM or Ctrl-C."
)
@click.option(
    "--format",
    "form",
    type=OneOf(("text", "json"), noun="format"),
    default="text",
    show_default=True,
    help="How the summary is written at the end.",
)
@click.option(
    "--ready-fd",
    type=Descriptor(),
    metavar="N",
    help="Write one byte to descriptor N once everything counts.",
)
@click.pass_context
def COMMAND(  # noqa: N802  # found by this name
    ctx: click.Context,
    *,
    path: str | None,
    overrides: dict[str, str],
    for_s: float | None,
    form: str,
    ready_fd: int | None,
) -> int:
    """Measure what the configuration says and export it, until SIGTERM or Ctrl-C; then print a summary.

    Without configuration: processes that begin, run and end, and system calls, counted; served for Prometheus on
    127.0.0.1:9464. OTLP is sent every 5 s once an endpoint is set (otlp.endpoint, OTEL_EXPORTER_OTLP_ENDPOINT). A
    small process keeps the privileges to load; the other one has none.

    Exit status: 0 at its end, 1 if it had to end, 2 for a wrong configuration, 77 without the needed capabilities.
    """
    from sonde.cli.agent import Request, become, own_user, serve

    is_debugging = ctx.find_root().params["debug"]
    request = Request(path, overrides, for_s, form, ready_fd, is_debugging, own_user())
    if ctx.obj:
        become(request)
    return serve(request)
