"""What keeps exporters from delivering is said once, and that it is over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sonde.agent.troubles import AGAIN_S, AT_ONCE, Troubles
from sonde.exporters.exporter import Status


class Exporter:
    """One that has the problem that it is given."""

    name = "otlp"

    def __init__(self) -> None:
        self.problem = ""
        self.dropped = 0

    def export(self, snapshot: Any) -> None: ...

    def log(self, batch: Any) -> None: ...

    def status(self) -> Status:
        dropped = {"status 400": self.dropped} if self.dropped else {}
        return Status(problem=self.problem, is_healthy=not self.problem, points_dropped=dropped)

    def close(self, *, timeout_s: float) -> None: ...


def said(problems: Mapping[float, str]) -> list[str]:
    """Give what is said when an exporter has these problems at these times."""
    found: list[str] = []
    troubles = Troubles(warn=found.append, inform=found.append)
    exporter = Exporter()
    for now, exporter.problem in problems.items():
        troubles.look([exporter], now)
    return found


def test_a_problem_is_said_when_it_begins_and_when_it_is_over() -> None:
    assert ["refused", "otlp delivers again"] == said({0: "", 5: "refused", 10: "refused", 15: "", 20: ""})


def test_another_problem_is_said_too() -> None:
    assert ["refused", "status 400"] == said({0: "refused", 5: "status 400"})


def test_a_second_outage_soon_after_the_first_is_said_too() -> None:
    assert ["refused", "otlp delivers again"] * 2 == said({0: "refused", 5: "", 10: "refused", 15: ""})


def test_a_receiver_that_falters_is_a_few_warnings_and_then_one_a_minute() -> None:
    minutes = 10
    problems = {float(now): "" if now % 2 else f"status {now}" for now in range(int(minutes * AGAIN_S))}
    told = said(problems)

    assert ["status 0", "otlp delivers again", "status 2", "otlp delivers again"] == told[:4]
    assert AT_ONCE + minutes - 1 == len(told) // 2
    assert told.count("otlp delivers again") == len(told) // 2


def test_another_exporter_of_the_name_has_its_own() -> None:
    """After a reload with another endpoint nothing was delivered yet."""
    found: list[str] = []
    troubles = Troubles(warn=found.append, inform=found.append)
    first, second = Exporter(), Exporter()
    first.problem = "refused"
    for exporter in (first, second):
        troubles.look([exporter], 0)

    assert ["refused"] == found


def test_what_was_dropped_between_two_looks_is_said() -> None:
    """It delivers before, and again when it is looked at."""
    found: list[str] = []
    troubles = Troubles(warn=found.append, inform=found.append)
    exporter = Exporter()
    for now, exporter.dropped in {0.0: 0, 5.0: 0, 10.0: 7, 15.0: 7}.items():
        troubles.look([exporter], now)
    assert found == ["otlp delivers, and has dropped 7 points and records"]


def test_what_was_dropped_when_enough_had_been_said_is_said_later() -> None:
    found: list[str] = []
    troubles = Troubles(warn=found.append, inform=found.append)
    exporter = Exporter()
    for turn in range(2 * AT_ONCE):
        exporter.problem = "" if turn % 2 else "status 503"
        troubles.look([exporter], float(turn))
    said_before = len(found)
    exporter.problem, exporter.dropped = "status 400", 7
    troubles.look([exporter], 11.0)
    exporter.problem = ""
    troubles.look([exporter], 12.0)
    assert len(found) == said_before
    troubles.look([exporter], AGAIN_S + 12.0)
    assert found[said_before:] == ["otlp delivers, and has dropped 7 points and records: status 400"]
