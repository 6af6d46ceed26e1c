"""Runs of an agent of a test's own: what it is told, and what has to come of it."""

from __future__ import annotations

from typing import Any

from sonde.probes.syscalls.workload import Workload

WORKLOAD = "from sonde.probes.syscalls.workload import Workload\nWorkload(3, 1009).run()"
EXPECTED = Workload(3, 1009).expected
BEGUN = {(name, None): count for (name, error), count in EXPECTED.items() if not error}
"""Of calls that are counted when they begin those that nobody else in the process makes."""
START = """
from sonde.probe import Selection
size = 1 << 24 if output == 'calls' else None
run = loader.start('syscalls', output, selection=Selection(pid=pid), values=given, max_entries=size)
runs.append(run)
result = [program.id for program in run.loaded.programs.values()]
"""
FINAL = """
runs[-1].stop()
batch = runs[-1].read()
result = {'counts': counts(batch), 'balanced': batch.accounting.balanced, 'final': batch.accounting.final,
          'figures': batch.accounting.as_dict()}
"""
CLOSE = "runs.pop().close()"


def assert_exact(found: dict[str, Any], expected: dict[tuple[str, str | None], int] = EXPECTED) -> None:
    """Each of these calls is there, but for those that the kernel says it skipped machine-wide (Linux 7.x)."""
    here = {(name, error): count for name, error, count in found["counts"]}
    missing = {key: count - here.get(key, 0) for key, count in expected.items()}
    assert min(missing.values()) >= 0, missing
    assert sum(missing.values()) <= found["figures"]["lost"].get("recursion", 0), missing
    assert found["final"], found
    assert found["balanced"], found
