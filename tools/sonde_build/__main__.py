"""Compile BPF C from the command line, with the flags of the build.

PYTHONPATH=tools python -m sonde_build --into DIR FILE.bpf.c …
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sonde_build.compilers import BuildError
from sonde_build.extension import object_builder
from sonde_build.objects import build_all


def main() -> int:
    """Compile what is named; 1 with the compiler's words where one fails."""
    parser = argparse.ArgumentParser(
        prog="sonde_build", description="Compile BPF C, with the flags of the build."
    )
    parser.add_argument("--into", type=Path, help="folder for the objects; without it, beside each source")
    parser.add_argument("sources", type=Path, nargs="*")
    arguments = parser.parse_args()
    try:
        build_all(object_builder(), arguments.sources, into=arguments.into)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
