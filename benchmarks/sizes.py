"""How much of a disk a tool takes with everything that it needs: ``python -m benchmarks.sizes``.

Of Debian's packages all that they depend on, beyond what every Debian has (the C library, and what is essential). sonde's
are the Python packages that it requires, and Debian's Python below them.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from benchmarks import built
from benchmarks.gathering import Gathering
from benchmarks.options import Options, run_part
from benchmarks.results import Column, Part

TOOLS = {
    "libbpf-tools": ("libbpf-tools",),
    "bpftrace": ("bpftrace",),
    "BCC": ("bpfcc-tools",),
    "perf": ("linux-perf",),
    "strace": ("strace",),
    "SystemTap": ("systemtap",),
}
HEADERS = re.compile(r"linux-headers-[\d.]+-\d+-(amd64|arm64)")
NEEDS_HEADERS = ("BCC", "SystemTap")
WHAT = """\
Installed size of each tool with all that it depends on, beyond what every Debian has. BCC and SystemTap need the headers of the kernel too, SystemTap a compiler. sonde is
counted with Debian's Python below it; where Python is there already, it takes the second figure.
"""
COLUMNS = (
    Column("installed_mb", "installed", "MB"),
    Column("own_mb", "without Python", "MB"),
    Column("packages", "packages", ""),
)


@dataclass(frozen=True)
class Package:
    """A Debian package that is installed."""

    size_mb: float
    essential: bool
    needs: tuple[tuple[str, ...], ...]


@cache
def installed() -> dict[str, Package]:
    """Read what dpkg knows."""
    fields = (
        "${Package}\t${Installed-Size}\t${Essential}\t${Priority}\t${Depends}, ${Pre-Depends}\t${Provides}\n"
    )
    told = subprocess.run(
        ["dpkg-query", "-W", "-f", fields], check=True, capture_output=True, text=True
    ).stdout
    found, virtual = {}, {}
    for line in told.splitlines():
        name, size, essential, priority, depends, provides = line.split("\t")
        needs = tuple(
            tuple(re.split(r"[ (:]", choice.strip())[0] for choice in each.split("|"))
            for each in depends.split(",")
            if each.strip()
        )
        found[name] = Package(
            int(size or 0) * 1.024 / 1000, essential == "yes" or priority == "required", needs
        )
        virtual.update(
            {re.split(r"[ (:]", each.strip())[0]: name for each in provides.split(",") if each.strip()}
        )
    return {**{name: found[of] for name, of in virtual.items()}, **found}


def closure(roots: tuple[str, ...]) -> set[str]:
    """Give all that some packages need, themselves included."""
    known, found = installed(), set[str]()
    waiting = [root for root in roots if root in known]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            for choices in known[name].needs:
                waiting += [choice for choice in choices if choice in known][:1]
    return found


def everywhere() -> set[str]:
    """Give what every Debian has."""
    return closure((*(name for name, package in installed().items() if package.essential), "libc6"))


def debian_mb(roots: tuple[str, ...]) -> tuple[float, int]:
    """Give megabytes and number of what packages bring along."""
    brought = closure(roots) - everywhere()
    return sum(installed()[name].size_mb for name in brought), len(brought)


def sonde_mb() -> tuple[float, int]:
    """Give megabytes and number of sonde's Python packages."""
    own = sum(
        path.stat().st_size
        for path in (built.ROOT / "src" / "sonde").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("test_")
    )
    names, waiting = set[str](), ["sonde"]
    while waiting:
        name = waiting.pop().lower()
        if name not in names:
            names.add(name)
            needed = [each for each in metadata.requires(name) or [] if "extra ==" not in each]
            waiting += [re.split(r"[^A-Za-z0-9._-]", each, maxsplit=1)[0] for each in needed]
    files = (file for name in names - {"sonde"} for file in metadata.files(name) or [])
    others = sum(
        Path(str(file.locate())).stat().st_size for file in files if Path(str(file.locate())).exists()
    )
    return (own + others) / 1e6, len(names)


def measure(_: Options) -> list[Part]:
    """Ask dpkg, and the files of Python's packages."""
    found = Gathering()
    own, count = sonde_mb()
    python, below = debian_mb(("python3",))
    for key, value in {"installed_mb": own + python, "own_mb": own, "packages": float(count + below)}.items():
        found.add("sonde", "sonde", key, value)
    for name, roots in TOOLS.items():
        headers = tuple(package for package in installed() if HEADERS.fullmatch(package))
        if roots[0] not in installed():
            found.missing(name, "peer", f"{roots[0]} is not installed")
            continue
        size, count = debian_mb((*roots, *(headers if name in NEEDS_HEADERS else ())))
        found.add(name, "peer", "installed_mb", size)
        found.add(name, "peer", "packages", count)
        if "python3" in closure(roots):
            found.add(name, "peer", "own_mb", size - python)
    names = ("sonde", *TOOLS)
    pairs = dict.fromkeys(TOOLS, "sonde")
    title = "Size on disk"
    return [
        Part(
            "sizes",
            title,
            WHAT,
            list(COLUMNS),
            found.rows(names, COLUMNS),
            pairs=pairs,
            plots=["installed_mb"],
        )
    ]


if __name__ == "__main__":
    run_part(measure, __doc__)
