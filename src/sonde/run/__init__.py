"""One output of a probe, in the kernel: started, read as often as wanted, stopped, accounted for.

``RunControl`` starts and stops it, ``Reading`` reads it, and ``Run`` is both in one process.
"""

from __future__ import annotations

from sonde.run.control import RunControl, wait_for_programs
from sonde.run.reading import Reading
from sonde.run.run import Run

__all__ = ["Reading", "Run", "RunControl", "wait_for_programs"]
