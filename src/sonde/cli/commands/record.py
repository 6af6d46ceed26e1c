"""``sonde record PROBE``: outputs of probes into a file, for later and elsewhere."""

from __future__ import annotations

from sonde.cli.record_command import RecordGroup

EXAMPLES = """\
\b
Examples:
  sonde record syscalls -o calls.arrow --for 1m               what top shows, second by second
  sonde record syscalls.calls -o make.arrow -- make           each call of a command
  sonde record syscalls.latency,syscalls.calls -o both.arrow --pid 4711
  sonde record syscalls -o - --for 5s | ssh desk sonde report -
"""

COMMAND = RecordGroup(
    "record",
    help="Record outputs of probes into a file that sonde report shows later, on any machine, without privileges.\n\n"
    "Several outputs are separated by commas; a probe without an output is its first. sonde record PROBE --help shows "
    "the options.",
    short_help="Into a file, for sonde report.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    subcommand_metavar="PROBE[.OUTPUT][,…] -o FILE [OPTIONS] [-- COMMAND …]",
)
