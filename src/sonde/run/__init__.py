"""One output of a probe, in the kernel: started, read as often as wanted, stopped, accounted for.

``RunControl`` starts and stops it, ``Reading`` reads it, and ``Run`` is both in one process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonde.homes import asked_for

if TYPE_CHECKING:
    from sonde.run.control import RunControl
    from sonde.run.reading import Reading
    from sonde.run.run import Run

__all__ = ["Reading", "Run", "RunControl"]

# Who starts does not always read, and who reads has not always started: the loader and the agent are two processes.
__getattr__, __dir__ = asked_for(
    __name__,
    {
        "Reading": "sonde.run.reading",
        "Run": "sonde.run.run",
        "RunControl": "sonde.run.control",
    },
)
