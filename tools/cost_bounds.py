"""What the packaged programs and the start of the command line may cost, by counts that no other work on a machine changes.

``python tools/cost_bounds.py`` writes tests/golden/costs.json from what is so now; the test beside it fails where more than a little
was added. Of each program, as the kernel runs it at an output's defaults: instructions after the verifier's dead-code
elimination, calls of helpers and kernel functions in them, and instructions that the verifier walked. Of a start: modules.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from sonde.probes import all_probes
from sonde.run import Run

COSTS = Path(__file__).resolve().parents[1] / "tests" / "golden" / "costs.json"
CALL = re.compile(r"^\s*\d+: \(85\) call ", re.MULTILINE)
INSTRUCTION = re.compile(r"^\s*\d+: \([0-9a-f]{2}\)", re.MULTILINE)
STARTS = {
    "sonde --help": ["--help"],
    "sonde top --help": ["top", "--help"],
    "sonde top syscalls, when attached": ["top", "syscalls", "--count-only", "--for", "50ms"],
    "sonde trace syscalls, when attached": ["trace", "syscalls", "--for", "50ms"],
}
NOTED = """
import sys
from sonde.cli import main

def told():
    ours = sum(name.partition(".")[0] == "sonde" for name in sys.modules)
    return [ours, len({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names))]

if "--help" in sys.argv:
    sys.stdout, shown = sys.stderr, sys.stdout
    try:
        main(sys.argv[1:])
    except SystemExit:
        print(*told(), file=shown)
else:
    from sonde.run import Run
    start = Run.start

    def noted(self):
        start(self)
        print("modules", *told(), file=sys.stderr)

    Run.start = noted
    main(sys.argv[1:])
"""

Costs = dict[str, dict[str, int]]


def programs() -> Costs:
    """Count the programs of every output of every probe, at its defaults."""
    found: Costs = {}
    for name, declared in all_probes().items():
        for output in declared.outputs:
            with Run(declared, output.name) as run:
                for program in run.loaded.programs.values():
                    found[f"{name}.{output.name}: {program.name}"] = _counts(
                        program.id, program.instructions_verified
                    )
    return found


def _counts(number: int, verified: int | None) -> dict[str, int]:
    # Debian has it where not every PATH leads.
    bpftool = shutil.which("bpftool") or "/usr/sbin/bpftool"
    command = [bpftool, "prog", "dump", "xlated", "id", str(number)]
    dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    counts = {"instructions": len(INSTRUCTION.findall(dump)), "calls": len(CALL.findall(dump))}
    return counts if verified is None else {**counts, "verified": verified}


def starts() -> Costs:
    """Count sonde's modules, and packages that are not Python's own, at each start."""
    found: Costs = {}
    for title, arguments in STARTS.items():
        run = subprocess.run(
            [sys.executable, "-c", NOTED, *arguments], check=True, capture_output=True, text=True
        )
        text = run.stdout if "--help" in arguments else run.stderr
        modules, packages = map(int, text.split()[-2:])
        found[title] = {"modules": modules, "packages": packages}
    return found


def main() -> None:
    """Write what is so now."""
    COSTS.write_text(
        json.dumps({"programs": programs(), "starts": starts()}, indent=1, sort_keys=True) + "\n"
    )


if __name__ == "__main__":
    main()
