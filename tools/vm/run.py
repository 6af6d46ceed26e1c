"""Run one command on one of Debian's kernels, in a virtual machine that sees the host's files.

    python3 tools/vm/run.py --kernel 6.1 -- uname -a
    python3 tools/vm/run.py --kernel 5.10 --output results -- .venv/bin/python -m pytest --junit-xml results/5.10.xml

Exits with the command's status; 124 when its time is over, 125 when the machine does not come up or dies.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

# Run as a file, Python looks for modules beside this one; the package is one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vm import emulator, kernel
from vm.errors import GuestTimeoutError, VmError
from vm.host import ensure_programs
from vm.machine import Command, Machine

EXIT_TIMEOUT, EXIT_NO_MACHINE = 124, 125


def arguments() -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(
        prog="tools/vm/run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--kernel",
        required=True,
        choices=[*kernel.SUITES, *kernel.ELSEWHERE],
        help="which of Debian's kernels",
    )
    add("--cpus", type=int, default=2, help="processors of the guest (2)")
    add("--memory", default="1G", help="memory of the guest (1G); its writable layer lives there")
    add("--append", default="", help="more words for the kernel's command line")
    add("--timeout", type=float, default=600.0, metavar="S", help="seconds for the command (600)")
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="environment of the command")
    add("--output", type=Path, metavar="DIR", help="a folder that the guest may write to")
    add("--refresh", action="store_true", help="fetch the kernel anew")
    add("--times", action="store_true", help="print the seconds of boot and command to stderr")
    add("command", nargs="+", metavar="COMMAND")
    return parser.parse_args()


def main() -> int:
    """Run the command; returns the exit status."""
    # So that the machine is stopped and its files are removed on the way out.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    options = arguments()
    pairs = dict(pair.partition("=")[::2] for pair in options.env)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
    command = Command(
        words=options.command,
        environment={"SONDE_VM_KERNEL": options.kernel, **pairs},
        output=options.output,
    )
    try:
        ensure_programs()
        found = kernel.find(options.kernel, refresh=options.refresh)
        machine = Machine(
            found, emulator.find(), cpus=options.cpus, memory=options.memory, append=options.append
        )
        result = machine.run(command, timeout_s=options.timeout, write=write)
    except GuestTimeoutError as error:
        print(f"sonde-vm: {error}", file=sys.stderr)
        return EXIT_TIMEOUT
    except VmError as error:
        print(f"sonde-vm: {error}", file=sys.stderr)
        return EXIT_NO_MACHINE
    if options.times:
        print(f"sonde-vm: boot {result.boot_s:.1f} s, command {result.command_s:.1f} s", file=sys.stderr)
    return result.status


def write(data: bytes) -> None:
    """Pass the guest's output on at once."""
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]


if __name__ == "__main__":
    sys.exit(main())
