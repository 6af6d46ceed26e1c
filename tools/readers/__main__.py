"""Fetch them: ``python -m readers``; one that cannot be had is said and left out."""

from __future__ import annotations

import sys

from readers import pprof, speedscope
from sonde_build.compilers import BuildError


def main() -> int:
    """Fetch all; it is for the tests to judge what is missing."""
    for reader in (pprof, speedscope):
        try:
            reader.fetched()
        except BuildError as error:
            print(f"no {reader.__name__.rpartition('.')[2]}: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
