"""``sonde run``: the agent, which measures and exports for weeks."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from sonde.cli.parameter import Descriptor, Duration, OneOf
from sonde.cli.ready import tell_ready

if TYPE_CHECKING:
    from sonde.agent.agent import Agent
    from sonde.agent.config import Config
    from sonde.agent.summary import Summary

OWN_USER = "sonde"
READ_WITHIN_S = 1.0
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
def COMMAND(  # noqa: N802  # found by this name
    *, path: str | None, overrides: dict[str, str], for_s: float | None, form: str, ready_fd: int | None
) -> int:
    """Measure what the configuration says and export it, until SIGTERM or Ctrl-C; then print a summary.

    Without configuration: processes that begin, run and end, and system calls, counted; served for Prometheus on
    127.0.0.1:9464. OTLP is sent every 5 s once an endpoint is set (otlp.endpoint, OTEL_EXPORTER_OTLP_ENDPOINT). A
    small process keeps the privileges to load; the other one has none.

    Exit status: 0 at its end, 1 if it had to end, 2 for a wrong configuration, 77 without the needed capabilities.
    """
    from sonde.agent.config import load_config
    from sonde.agent.log import set_up

    def read() -> Config:
        return load_config(path, os.environ, overrides)

    config = read()
    set_up(config.log.level, config.log.format)
    agent = _agent(config, read, ready_fd)
    summary = agent.run(duration_s=for_s)
    from sonde.exporters.json_lines.settings import STDOUT

    _print(summary, form, beside_lines=agent.config.file.path == STDOUT)
    # Why it failed was said when it did.
    return 0 if agent.failure is None else 1


def _agent(config: Config, read: Any, ready_fd: int | None) -> Agent:
    """Start the loader while there are privileges, give them up, and only then import what parses and serves."""
    from sonde.agent.loader.loader import Loader
    from sonde.agent.privileges import drop_privileges
    from sonde.enrich.kernel_symbol import kernel_symbols

    log = logging.getLogger("sonde.agent")
    for warning in config.warnings:
        log.warning("%s", warning)
    loader = Loader.spawn(
        [run.probe for run in config.runs], statistics=config.budget.cpu is not None, identities=True
    )
    try:
        _ = loader.ready
        kept = [fd for fd in (loader.fileno(), ready_fd) if fd is not None]
        user = _user(config.process.user)
        # The kernel shows addresses to whoever opened their list.
        kernel_symbols().open()
        dropped = drop_privileges(trial=loader.try_reading, user=user, keep_descriptors=kept)
        log.debug("the agent %s; the loader has pid %d", dropped, loader.pid)
        for note in dropped.notes:
            log.info("%s", note)

        from sonde.agent.agent import Agent

        def announce(agent: Agent) -> None:
            log.info("%s", agent.status)
            tell_ready(ready_fd)

        return Agent(config, loader, read, announce)
    except BaseException:
        loader.close()
        raise


def _user(name: str) -> str:
    """Take nobody where the package's own user was not made, as when sonde was installed by pip."""
    import pwd

    try:
        return pwd.getpwnam(name).pw_name
    except KeyError:
        return "nobody" if name == OWN_USER else name


def _print(summary: Summary, form: str, *, beside_lines: bool) -> None:
    """Write it to standard output; where JSON lines go there, text goes beside them, and all where nobody reads any more."""
    from sonde.agent.patience import is_taken, write_patiently

    text = json.dumps({"summary": summary.as_dict()}) if form == "json" else "\n".join(summary.lines())
    is_beside = (beside_lines and form != "json") or not is_taken(sys.stdout, READ_WITHIN_S)
    if not write_patiently(sys.stderr if is_beside else sys.stdout, f"{text}\n", READ_WITHIN_S):
        logging.getLogger("sonde.agent").warning("the summary was not written: nobody takes it")
