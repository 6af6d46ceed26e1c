"""The scripts of flame graph pages: ``vendor_flame_graph.py`` fetches them anew, as their authors published them.

They lie in the repository, so that neither a build nor a user needs npm. A new version is a new line here; the licences are in
LICENSES/third-party.txt.
"""

from __future__ import annotations

import sys
from pathlib import Path

from npm_package import NpmPackage
from sonde_build.compilers import BuildError

FOLDER = Path(__file__).resolve().parents[1] / "src/sonde/views/flame/vendor"
PACKAGES = (
    NpmPackage(
        "d3-color",
        "3.1.1",
        "sha512-lfab8x0Bj0UO7SNsY8dZSbNIA6ipbkE3X0NG9nqjCu6CfCHZseuDnOSJY7hidKrjpP++i1M2qT+FlAdPKYRilA==",
    ),
    NpmPackage(
        "d3-dispatch",
        "3.0.2",
        "sha512-sAzH4Y4nsLo8eSqw5jKiZt+LU2wZmL/qS+OkxQGjhwazB/D7TY34R/QK1eshfGr7cZEKymKZ/Haem7m+lu98Sg==",
    ),
    NpmPackage(
        "d3-ease",
        "3.0.2",
        "sha512-B5znKqRmKROAN4oHWQ50W/qisVjA9GXh2WMsVKdFVp4DxWmcrOsweqgUOUVsv5th96kwaZlokU6SlV4J3gak1w==",
    ),
    NpmPackage(
        "d3-timer",
        "3.0.2",
        "sha512-1Il1aliroVSErrv5aulRBxAY+7+DnaoLIWGd1C6SsBTWDeobWiP/V69vwb8vT6abR1kKwaNe1196pmaQ1fK90A==",
    ),
    NpmPackage(
        "d3-interpolate",
        "3.0.2",
        "sha512-IRzGU62DtxhvsnSTWMQIdnoZ6gA+BCWwBon1EJI6SjoN595799b6z/QRBzXfFhE8iupUPp3042yBNo0STPqnzQ==",
    ),
    NpmPackage(
        "d3-array",
        "3.2.5",
        "sha512-Th8qGXoBalmWsstpkuhmBuTsBQIFqYOJtjlBvNVvBfJ8E3uYusBUwUR8HU20U0qKKQkgCvKyR1YjiozWadk5QA==",
    ),
    NpmPackage(
        "d3-format",
        "3.1.3",
        "sha512-+F+/49swqmGuQJmSKnVMIDH/QkEFV5li9QRj0xm/KhyAUBv099O5PrvpQFxBp24PYph17Mnvt9mjKQV0ii0nMA==",
    ),
    NpmPackage(
        "d3-time",
        "3.1.1",
        "sha512-Ze7rjrhMzdeulh0/hjcfFj7XLAHOfowtEMfsoG6DU866HPynQNW7Wfen6hzXcqKTv8XzxvF6Hzr5XD6bMHr2ug==",
    ),
    NpmPackage(
        "d3-time-format",
        "4.1.1",
        "sha512-22XaqjyCjpqgda20erhsOjGmC3vvYwTNYniKAd45W5UWLDF43moeOuV9qYpRqobIlsnK0UhnKZjUUJm3VgORUA==",
    ),
    NpmPackage(
        "d3-scale",
        "4.0.3",
        "sha512-66cWobCNzcMvlfoaDHCxuIv9TBUWG1BLOWdv9kHHFuCr1JdqAWPvTmsaEYDD5NRMyWZ5+7u0GqiCDfMXMqh3hg==",
    ),
    NpmPackage(
        "d3-hierarchy",
        "3.1.3",
        "sha512-GRajN5ZcnEwYFWqqdzhG1qJ3+fDg6WWzk47TJg7ePY7yvYAgRfD2r1mUx+wviBOWuCwamCUzjwMSdato43jbGA==",
    ),
    NpmPackage(
        "d3-selection",
        "3.0.1",
        "sha512-ODSf35vqCrlCfp7hrm0eZjvOosSXSYLjqvIlhMBV9q9VOx7EBJG6pc+uXBswEZNJgCGJ+qnKYcWutbZDIxe/Xg==",
    ),
    NpmPackage(
        "d3-transition",
        "3.0.2",
        "sha512-RcjCsdFgyFoDB+QXLC5m60ZkTN0k9zH+ovoLlTdJnDS1AbfbcuowiM4pCKSTOclNibS4f4J4cbv2m7O7y8NTOQ==",
    ),
    NpmPackage(
        "d3-flame-graph",
        "5.0.0",
        "sha512-ALZQ4at8Dex8HCoj9D5p5TY6gLNEc2vAZAy+NKO/6GLEfhYJmGxYuRClO6RPoplndyOHxQTPipdlGeMggkjtnQ==",
    ),
)
"""d3-flame-graph, and the modules of d3 that it stands on."""


def script_of(package: NpmPackage) -> str:
    """Name the one file of a package that pages hold."""
    stem = "d3-flamegraph.umd" if package.name == "d3-flame-graph" else package.name
    return f"dist/{stem}.min.js"


def main() -> int:
    """Fetch and write all."""
    try:
        for package in PACKAGES:
            script = script_of(package)
            (FOLDER / Path(script).name).write_bytes(package.files()[script])
            print(f"{package.name} {package.version}: {script}")
    except (BuildError, KeyError) as error:
        print(f"vendor_flame_graph: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
