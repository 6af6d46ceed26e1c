"""The accounting equation: it holds when it should, and fails when it should."""

from __future__ import annotations

from sonde.records.accounting import Accounting
from sonde.records.sources import accounting_from


def test_everything_accounted_for_is_balanced() -> None:
    """seen = delivered + aggregated + filtered + sampled_out + lost."""
    accounting = Accounting(
        seen=31, delivered=7, aggregated=5, filtered=11, sampled_out=3, lost={"ring_full": 2, "map_full": 3}
    )

    assert 0 == accounting.difference
    assert accounting.balanced
    assert 5 == accounting.lost_total


def test_an_event_that_is_nowhere_shows() -> None:
    """One event that was seen and handed out nowhere makes the difference, and the text says so."""
    accounting = Accounting(seen=8, aggregated=7, final=True)

    assert 1 == accounting.difference
    assert "NOT BALANCED by 1" in str(accounting)


def test_in_flight_is_outside_the_equation() -> None:
    """Calls that have begun and not ended are not seen yet."""
    accounting = accounting_from({"seen": 5, "begun": 9, "ended": 5}, aggregated=5)

    assert accounting.balanced
    assert 4 == accounting.in_flight


def test_counters_find_their_place_by_name() -> None:
    """lost_… are causes of loss, what the equation does not know is a note."""
    counters = {"seen": 10, "filtered": 4, "sampled_out": 1, "lost_ring_full": 2, "untimed": 6}

    accounting = accounting_from(counters, delivered=3, final=True)

    assert accounting.balanced
    assert {"ring_full": 2} == accounting.lost
    assert {"untimed": 6} == accounting.notes
    assert {
        "seen": 10,
        "delivered": 3,
        "aggregated": 0,
        "filtered": 4,
        "sampled_out": 1,
        "lost": {"ring_full": 2},
        "in_flight": 0,
        "untimed": 6,
    } == accounting.as_dict()


def test_causes_that_did_not_happen_are_left_out() -> None:
    """A reader of the JSON sees the causes that lost something."""
    assert {} == Accounting(lost={"ring_full": 0}).as_dict()["lost"]
