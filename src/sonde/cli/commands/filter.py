"""``sonde filter IFACE``: let packets pass, drop them, or limit their rate, by rules; and count each."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import click
from click.core import augment_usage_errors

from sonde.cli.formats import ROWS
from sonde.cli.parameter import Count, Descriptor, Duration, OneOf, Output

RULE_OPTIONS = ("allow", "drop", "rate_limit")
SORTS = ("rule", "packets", "bytes", "dropped")
EXAMPLES = """\
\b
Examples:
  sonde filter eth0 --drop 'src 10.0.0.0/8 and tcp dst port 22'      until Ctrl-C
  sonde filter eth0 --rules rules.toml --dry-run --for 1m            what would be dropped
  sonde filter eth0 --rules rules.toml                               SIGHUP reads the file again
  sonde filter eth0 --allow 'src 192.0.2.7' --rate-limit '100/s burst 200' 'udp dst port 53'

\b
A file of rules, in their order:
  [[rule]]                      # it may have a name, which is shown
  action = "drop"               # or allow; or rate-limit, with rate = "100/s"
  match = "tcp dst port 22"     # or src, dst, src_file, dst_file (a network a line), protocol,
                                # src_port, dst_port, port, flags, vlan: all of them have to hold
"""


class FilterCommand(click.Command):
    """A command whose context holds, as ``obj``, the rules of the command line in the order in which they were given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the line once more for the order, which click's values do not tell; raises click.UsageError."""
        with augment_usage_errors(ctx):
            values, _, order = self.make_parser(ctx).parse_args(list(args))
        left = {name: iter(values.get(name) or ()) for name in RULE_OPTIONS}
        ctx.obj = [(param.name, next(left[param.name])) for param in order if param.name in RULE_OPTIONS]
        return super().parse_args(ctx, args)


@click.command(
    cls=FilterCommand,
    name="filter",
    short_help="Drop packets that arrive at an interface, by rules.",
    epilog=EXAMPLES,
)
@click.argument("interface", metavar="IFACE")
@click.option("--rules", "path_rules", metavar="FILE", help="Rules from FILE (TOML); SIGHUP reads it again.")
@click.option("--drop", multiple=True, metavar="CONDITION", help="A rule: drop what it holds for. May be given again, as the next two.")  # fmt: skip
@click.option("--allow", multiple=True, metavar="CONDITION", help="A rule: let pass what it holds for.")
@click.option("--rate-limit", multiple=True, nargs=2, metavar="RATE CONDITION", help="A rule: drop what is above RATE ('100/s burst 200', '1MB/s') for each source.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Count what would be dropped, and let everything pass.")
@click.option(
    "--watch",
    is_flag=True,
    help="Read the file of rules again whenever it, or a list it names, changes, too.",
)
@click.option("--mode", type=OneOf(("auto", "native", "generic"), noun="mode"), default="auto", show_default=True, help="In the driver, in the kernel for any driver and slower, or whichever works.")  # fmt: skip
@click.option("--drop-unparsed", is_flag=True, help="Drop packets whose headers cannot be read; they pass otherwise.")  # fmt: skip
@click.option("--sources", "sources_max", type=Count("sources", least=2), default=65_536, show_default=True, metavar="N", help="Room for the token buckets of N sources.")  # fmt: skip
@click.option("--cut-my-connection", "cut", count=True, help="Twice: obey rules that cut the connection you are logged in on.")  # fmt: skip
@click.option("--for", "for_s", type=Duration(), metavar="TIME", help="End after 500ms, 5s, 2m, 1h; else Ctrl-C ends it.")  # fmt: skip
@click.option("--every", "every_s", type=Duration(least="10ms", most="1d"), default="1s", metavar="TIME", help="Time between two readings (1s).")  # fmt: skip
@click.option("--sort", type=OneOf(SORTS, noun="column"), help="Order by a column: rule (where they are few), packets, bytes, dropped.")  # fmt: skip
@click.option("--limit", type=Count("rows"), metavar="N", help="Show N rules at most; 0: all.")
@click.option("--format", "format", type=OneOf(ROWS.names, noun="format"), default="table", show_default=True, help="A table for people, or rows for machines.")  # fmt: skip
@click.option("-o", "--output", "path", type=Output(), metavar="FILE", help="Write to FILE, in the place of what it held; - is standard output.")  # fmt: skip
@click.option("--ready-fd", type=Descriptor(), metavar="N", help="Write one byte to descriptor N once attached.")  # fmt: skip
@click.pass_context
def COMMAND(ctx: click.Context, /, **options: Any) -> int:  # noqa: N802  # found by this name
    """Obey rules for the packets that arrive at IFACE: the first rule that fits decides, what fits none passes.

    A condition is written as for tcpdump: src 10.0.0.0/8 and tcp dst port 22,80; not ip6; syn and not ack; vlan 100.
    ARP and all else that is not IP passes. Everything is gone when the command ends, however it ends.

    Rules that would cut the connection that you are logged in on are refused.
    """
    from sonde.cli.filtering import Filtering
    from sonde.cli.ruling import Ruling

    ruling = Ruling.of(ctx, options, ctx.obj)
    with ExitStack() as stack:
        return Filtering(options, ruling, stack).run()
