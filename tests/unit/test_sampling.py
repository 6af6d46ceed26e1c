"""How many ticks a clock has made, by the time of its event."""

from __future__ import annotations

from sonde.run.sampling import nominal_hz, ticks_in

WEEK_NS = 7 * 86_400 * 1_000_000_000
PERIOD_NS = 1_000_000_000 // 99


def test_a_tick_is_a_whole_period() -> None:
    """What has begun is none yet."""
    parts = (0, PERIOD_NS - 1, PERIOD_NS, 10 * PERIOD_NS)
    assert [ticks_in(each, period_ns=PERIOD_NS, monotonic_ns=WEEK_NS, raw_ns=WEEK_NS) for each in parts] == [
        0,
        0,
        1,
        10,
    ]
    assert ticks_in(0, period_ns=PERIOD_NS, monotonic_ns=0, raw_ns=0) == 0


def test_a_clock_that_ntp_sets_right_shows_no_loss_after_weeks() -> None:
    """A machine's clock that is slow by 20 ppm counts fewer ns than the timer's clock: the timer's ticks are told."""
    raw_ns = WEEK_NS - WEEK_NS * 20 // 1_000_000

    assert ticks_in(raw_ns, period_ns=PERIOD_NS, monotonic_ns=WEEK_NS, raw_ns=raw_ns) == WEEK_NS // PERIOD_NS
    assert raw_ns // PERIOD_NS < WEEK_NS // PERIOD_NS - 1000
    # While its CPU was offline the event's time stood still.
    assert ticks_in(raw_ns // 2, period_ns=PERIOD_NS, monotonic_ns=WEEK_NS, raw_ns=raw_ns) == (
        WEEK_NS // 2 // PERIOD_NS
    )


def test_a_cpu_has_a_nominal_rate() -> None:
    """Every machine says one, or 1 GHz stands for it."""
    assert 100_000_000 <= nominal_hz() <= 10_000_000_000
