"""The table of stacks: addresses by number, bounded, and why some have none."""

from __future__ import annotations

import numpy as np

from sonde.records.stacks import FORGOTTEN, StackTable

ADDRESSES = np.arange(5, dtype=np.uint64)


def test_those_that_have_not_come_for_longest_are_forgotten() -> None:
    """One that comes again stays."""
    stacks = StackTable(stacks_max=3)
    stacks.add([101, 102, 103], [ADDRESSES] * 3)
    stacks.add([101, 104], [ADDRESSES] * 2)

    assert [101 in stacks, 102 in stacks, 103 in stacks, 104 in stacks] == [True, False, True, True]
    assert stacks.forgotten == 1
    assert len(stacks) == 3


def test_a_number_says_why_it_has_no_addresses() -> None:
    """No stack needs no word; the causes are the kernel's, and ours."""
    stacks = StackTable()
    stacks.add([101], [ADDRESSES])

    assert [stacks.missing(number) for number in (0, 101, 1, 2, 102)] == [
        "",
        "",
        "map of stacks full",
        "not readable",
        FORGOTTEN,
    ]
