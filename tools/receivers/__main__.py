"""Fetch what the tests want: ``python -m receivers``; one that cannot be had is said and left out."""

from __future__ import annotations

import sys

from receivers.package import programs
from sonde_build.compilers import BuildError

WANTED = (("prometheus", "bookworm"), ("prometheus", "sid"))


def main() -> int:
    """Fetch all; it is for the tests to judge what is missing."""
    for package, release in WANTED:
        try:
            programs(package, release=release)
        except BuildError as error:
            print(f"no {package} of Debian {release}: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
