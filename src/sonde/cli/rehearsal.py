"""Whether this kernel, and this process, can run an output of a probe: found by running it for a moment."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sonde.cli.failure import denied
from sonde.errors import PermissionDeniedError, SondeError
from sonde.probe import Probe, Selection, Stream, Table


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How it went: ``value`` is True, False, or None where this process may not try; ``chosen`` is what was chosen."""

    output: Table | Stream
    value: bool | None
    reason: str = ""
    chosen: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Give what the output is: table or stream."""
        return "table" if isinstance(self.output, Table) else "stream"

    @property
    def memory_bytes(self) -> int:
        """Give the memory of its maps here."""
        return int(self.chosen.get("map_memory_bytes", 0))

    @property
    def hooks(self) -> tuple[str, ...]:
        """Give the hooks that were chosen, each once."""
        return tuple(dict.fromkeys(self.chosen.get("hooks", {}).values()))


def rehearse(probe: Probe) -> list[Rehearsal]:
    """Load and attach each output, and detach it at once; no interface of the machine's is touched."""
    if not probe.on_interfaces:
        return [_rehearse(probe, output) for output in probe.outputs]
    # A thread of its own, for the network namespace ends with it.
    with ThreadPoolExecutor(1) as apart:
        return [apart.submit(_rehearse_apart, probe, output).result() for output in probe.outputs]


def _rehearse_apart(probe: Probe, output: Table | Stream) -> Rehearsal:
    """Try it on the loopback of a network namespace of its own."""
    from sonde._libbpf import lib
    from sonde._libbpf.check import check

    # Who may not do this may mostly not do the rest: all that is missing is told at once.
    needed = " ".join((*probe.capabilities, "CAP_SYS_ADMIN"))
    try:
        check(lib.sonde_unshare_network(), "make a network namespace to try in", capability=needed)
    except PermissionDeniedError as error:
        return Rehearsal(output, value=None, reason=denied(error))
    return _rehearse(probe, output, Selection(interfaces=("lo",)))


def _rehearse(probe: Probe, output: Table | Stream, selection: Selection | None = None) -> Rehearsal:
    from sonde.run import Run

    try:
        with Run(probe, output.name, selection=selection) as run:
            return Rehearsal(output, value=True, chosen=run.describe())
    except PermissionDeniedError as error:
        return Rehearsal(output, value=None, reason=denied(error))
    except SondeError as error:
        return Rehearsal(output, value=False, reason=str(error))
