"""eBPF observability for Python: measure the Linux kernel, without compiler, headers or loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonde.errors import SondeError
from sonde.homes import asked_for
from sonde.probe import Selection
from sonde.probes import all_probes, probe
from sonde.version import VERSION

if TYPE_CHECKING:
    from sonde.bpf import Object, ObjectSpec
    from sonde.collector import Collector
    from sonde.metering import export_to_opentelemetry
    from sonde.records.accounting import Accounting
    from sonde.records.model import RecordBatch
    from sonde.run import Run

__all__ = [
    "Accounting",
    "Collector",
    "Object",
    "ObjectSpec",
    "RecordBatch",
    "Run",
    "Selection",
    "SondeError",
    "__version__",
    "all_probes",
    "export_to_opentelemetry",
    "probe",
]

__version__ = VERSION

# What loads the extension is imported when it is first asked for. This file is imported before every other one of the
# package: so ``sonde --help`` loads no libbpf, an interrupt finds the command line ready for it, and on another system
# than Linux one sentence says so.
__getattr__, __dir__ = asked_for(
    __name__,
    {
        "Accounting": "sonde.records.accounting",
        "Collector": "sonde.collector",
        "Object": "sonde.bpf",
        "ObjectSpec": "sonde.bpf",
        "RecordBatch": "sonde.records.model",
        "Run": "sonde.run",
        "export_to_opentelemetry": "sonde.metering",
    },
)
