"""The agent's loop without a kernel: what a change of level is charged to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from sonde.agent.cost import Cost
from sonde.agent.runtime import Runtime


class Measured:
    """A table that notes when it is attached, in a list that it shares with others."""

    name, is_stream = "syscalls.counts", False

    def __init__(self, noted: list[str]) -> None:
        self.noted = noted

    def attach(self) -> None:
        self.noted.append("attached")

    def thin(self, every: int) -> None: ...

    def close(self) -> None: ...


def test_what_attaching_takes_is_charged_to_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each recovery looks as if the level were too dear, and with a short interval none lasts."""
    noted: list[str] = []

    def share(_: Cost, measurements: Sequence[Any]) -> float:
        noted.append("reckoned")
        return 0.0

    monkeypatch.setattr(Cost, "share", share)
    runtime = Runtime(cast(Any, [Measured(noted)]), [], cast(Any, None), interval_s=5.0)
    try:
        runtime.attach_missing()
    finally:
        runtime.close()

    assert ["attached", "reckoned"] == noted
