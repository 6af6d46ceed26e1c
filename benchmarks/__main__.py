"""The whole comparison: ``python -m benchmarks``, with ``--quick`` one short round; ``--part NAME`` runs parts alone.

Prints every part when it is done, and writes build/benchmarks/comparison: results.json, comparison.md, plots. Where parts are
run alone the others keep what they had. ``--publish`` writes docs/comparison.md, its plots, benchmarks/results.json, the figures in READMEs, and
the costs that probes declare.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
import traceback

from benchmarks import built, machine, options, results
from benchmarks.report import costs, page, readmes
from benchmarks.results import Part, Results, printed
from sonde.errors import SondeError

PARTS = (
    *("syscalls", "streams", "probes", "packets", "rules", "sizes", "reach"),
    *("crowds", "safety", "events", "first_data", "ease"),
)
LONG = ("virtual", "delivery")
"""Parts for which a quick run has no time."""
OUT = built.BUILD / "comparison"
DOCS = built.ROOT / "docs"
KEPT = built.HERE / "results.json"


def main() -> None:
    """Run from the command line."""
    parser = options.arguments(__doc__)
    parser.add_argument(
        "--part", action="append", choices=[*PARTS, *LONG], help="only this; may be given again"
    )
    parser.add_argument(
        "--publish", action="store_true", help="into docs/, the READMEs and the declarations, too"
    )
    parser.add_argument("--seconds-max", type=float, default=2400, help="begin no part after so long")
    parsed = parser.parse_args()
    chosen = options.options(parsed)
    if chosen.quick and parsed.publish:
        parser.error("--publish: a quick run has no figure to rely on")
    options.heed_ctrl_c()
    options.own_tracefs()
    found = _begin(quick=chosen.quick, of_before=bool(parsed.part))
    begun, lacking = time.monotonic(), list[str]()
    for name in parsed.part or [*PARTS, *(() if chosen.quick else LONG)]:
        if time.monotonic() - begun > parsed.seconds_max:
            print(f"{name} is not run: it has taken {parsed.seconds_max:.0f} s already", file=sys.stderr)
            lacking.append(name)
            continue
        try:
            parts: list[Part] = importlib.import_module(f"benchmarks.{name}").measure(chosen)
        except (OSError, RuntimeError, subprocess.SubprocessError, SondeError):
            # An hour of the others is not thrown away for one; who reads this sees which, and why.
            traceback.print_exc()
            lacking.append(name)
            continue
        for part in parts:
            print(printed(part), flush=True)
            found.parts[part.name] = part
        _write(found, drawn=[part.name for part in parts])
    if found.parts:
        conclude(found, time.monotonic() - begun)
    if parsed.publish and found.parts:
        _publish()
    if lacking:
        sys.exit(f"failed or not run, and not written: {', '.join(lacking)}")


def _begin(*, quick: bool, of_before: bool) -> Results:
    """Give nothing, or what an earlier run found, of the same kind and on the same machine: a whole run is one run."""
    now, path = machine.describe(), OUT / "results.json"
    if of_before and path.exists():
        before = results.read(path)
        if before.quick == quick and before.machine == now:
            return before
    return Results(now, quick, dict[str, Part](), os.getloadavg()[0])


def conclude(found: Results, spent_s: float) -> None:
    """Print what a run comes to."""
    print("\nWhat is to be reached:", *page.aims(found)[2:], sep="\n")
    print(f"\nWhere sonde loses, and why: {OUT}/comparison.md{f'. {page.QUICK}' if found.quick else ''}")
    print(f"written in {spent_s:.0f} s, with {OUT}/results.json")


def _write(found: Results, *, drawn: list[str]) -> None:
    place = {name: number for number, name in enumerate(page.ORDER)}
    found.parts = dict(sorted(found.parts.items(), key=lambda item: place[item[0]]))
    found.write(OUT / "results.json")
    # As whoever reads the file will find them: with the digits that it has.
    page.write(results.read(OUT / "results.json"), OUT, drawn=drawn)


def _publish() -> None:
    found = results.read(OUT / "results.json")
    found.write(KEPT)
    page.write(found, DOCS)
    readmes.write_all(found)
    costs.write_all(found)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print(f"interrupted: the parts above are written, to {OUT}", file=sys.stderr)
        sys.exit(130)
