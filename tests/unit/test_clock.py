"""The wall clock, set while the agent runs."""

from __future__ import annotations

from sonde.agent.clock import Clock

SECOND_NS = 1_000_000_000


def test_a_clock_that_runs_is_not_set() -> None:
    wall, steady = [1000 * SECOND_NS], [0]
    clock = Clock(lambda: wall[0], lambda: steady[0])
    wall[0] += 7 * SECOND_NS
    steady[0] += 7 * SECOND_NS

    assert clock.step_ns() == 0


def test_a_step_is_told_once_forward_and_back() -> None:
    wall, steady = [1000 * SECOND_NS], [0]
    clock = Clock(lambda: wall[0], lambda: steady[0])
    wall[0] += 3600 * SECOND_NS
    assert clock.step_ns() == 3600 * SECOND_NS
    assert clock.step_ns() == 0
    wall[0] -= 7200 * SECOND_NS
    assert clock.step_ns() == -7200 * SECOND_NS


def test_small_steps_add_up_to_one() -> None:
    wall = [1000 * SECOND_NS]
    clock = Clock(lambda: wall[0], lambda: 0)
    steps = []
    for _ in range(10):
        wall[0] += SECOND_NS // 10
        steps.append(clock.step_ns())

    assert sum(steps) == SECOND_NS
    assert steps.count(0) == 8
