"""Who processes are, to the agent: what the stream of their lives tells, and what the loader may see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sonde.agent.loader.conversation import LoaderBusyError
from sonde.errors import LoaderError

if TYPE_CHECKING:
    from sonde.agent.config import Config
    from sonde.agent.loader.loader import Loader
    from sonde.agent.loader.protocol import Identity


def who_of(config: Config, loader: Loader) -> Any:
    """Make what knows processes, keyed as the configuration says; what /proc hides from us the loader is asked for."""
    from sonde.enrich.who import Who

    def ask(pids: Sequence[int]) -> dict[int, Identity] | None:
        try:
            return loader.identify(pids)
        except LoaderBusyError:
            return None
        except LoaderError:
            # It has ended: what it knew of processes nobody knows now, and what was counted is exported all the same.
            return {}

    return Who(by=config.series.by, ask=ask)
