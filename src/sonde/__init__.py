"""eBPF observability for Python: measure the Linux kernel, without compiler, headers or loss."""

from __future__ import annotations

from sonde.bpf import Object, ObjectSpec
from sonde.collector import Collector
from sonde.errors import SondeError
from sonde.probe import Selection
from sonde.probes import all_probes, probe
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
    "all_probes",
    "probe",
]
