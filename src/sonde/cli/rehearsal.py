"""Whether this kernel, and this process, can run an output of a probe: found by running it for a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sonde.cli.failure import denied
from sonde.errors import PermissionDeniedError, SondeError
from sonde.probe import Probe, Stream, Table


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
    """Load and attach each output, and detach it at once."""
    return [_rehearse(probe, output) for output in probe.outputs]


def _rehearse(probe: Probe, output: Table | Stream) -> Rehearsal:
    from sonde.run import Run

    try:
        with Run(probe, output.name) as run:
            return Rehearsal(output, value=True, chosen=run.describe())
    except PermissionDeniedError as error:
        return Rehearsal(output, value=None, reason=denied(error))
    except SondeError as error:
        return Rehearsal(output, value=False, reason=str(error))
