"""The overhead budget: steps down soon, comes back late, does not swing."""

from __future__ import annotations

from sonde.agent.budget import CALM_BEFORE_RECOVERY, CALM_MAX, Budget, Level


def judged(budget: Budget, *shares: float) -> list[Level]:
    return [budget.judge(share) for share in shares]


def test_one_interval_over_budget_changes_nothing() -> None:
    assert judged(Budget(0.01), 0.015, 0.005, 0.015) == [Level.RECORDS] * 3


def test_two_intervals_in_a_row_are_one_step() -> None:
    budget = Budget(0.01)

    assert judged(budget, 0.015, 0.015, 0.015, 0.015) == [
        Level.RECORDS,
        Level.SAMPLED,
        Level.SAMPLED,
        Level.AGGREGATED,
    ]
    assert budget.steps_down == 2


def test_far_too_much_is_a_step_at_once_down_to_nothing_and_no_further() -> None:
    assert judged(Budget(0.01), *[0.5] * 5) == [
        Level.SAMPLED,
        Level.AGGREGATED,
        Level.DETACHED,
        Level.DETACHED,
        Level.DETACHED,
    ]


def test_it_recovers_level_by_level_when_it_is_calm() -> None:
    budget = Budget(0.01, level=Level.AGGREGATED)
    calm = [0.001] * CALM_BEFORE_RECOVERY

    assert judged(budget, *calm)[-2:] == [Level.AGGREGATED, Level.SAMPLED]
    assert judged(budget, *calm)[-2:] == [Level.SAMPLED, Level.RECORDS]
    assert budget.recoveries == 2


def test_just_below_the_budget_is_not_calm() -> None:
    budget = Budget(0.01, level=Level.SAMPLED)

    assert judged(budget, *[0.009] * 100)[-1] == Level.SAMPLED


def test_a_load_that_comes_back_with_every_recovery_is_tried_ever_less() -> None:
    """A recovery that costs too much at once doubles the patience, up to a bound."""
    budget = Budget(0.01)
    judged(budget, 0.5)
    waits = []
    for _ in range(8):
        waited = 0
        while budget.level == Level.SAMPLED:
            budget.judge(0.001)
            waited += 1
        waits.append(waited)
        budget.judge(0.5)

    assert waits[0] == CALM_BEFORE_RECOVERY
    assert waits[1] == 2 * CALM_BEFORE_RECOVERY
    assert waits[-1] == CALM_MAX


def test_a_recovery_that_lasts_forgets_the_patience() -> None:
    budget = Budget(0.01)
    judged(budget, 0.5, *[0.001] * 6, 0.5, *[0.001] * 12)
    assert budget.level == Level.RECORDS
    judged(budget, *[0.001] * 30, 0.5)

    assert judged(budget, *[0.001] * 6)[-1] == Level.RECORDS


def test_without_a_budget_nothing_is_judged() -> None:
    assert judged(Budget(None), 9.0, 9.0, 9.0) == [Level.RECORDS] * 3
