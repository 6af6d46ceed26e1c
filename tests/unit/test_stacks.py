"""The table of stacks: addresses by number, bounded, and why some have none."""

from __future__ import annotations

import numpy as np
import pytest

from sonde.records.stacks import FORGOTTEN, StackTable

ADDRESSES = np.arange(5, dtype=np.uint64)


def test_stacks_that_no_row_names_are_forgotten_first() -> None:
    """Of a program that ran long ago and had many samples the stack stays; of the others the oldest go."""
    stacks = StackTable(stacks_max=3)
    stacks.add([101, 102, 103], [ADDRESSES] * 3)
    stacks.add([104, 105], [ADDRESSES] * 2)
    stacks.trim(lambda: {101, 105})

    assert [number for number in range(101, 106) if number in stacks] == [101, 104, 105]
    assert stacks.forgotten == 2


def test_one_that_comes_again_is_forgotten_last() -> None:
    """Where all are in use, and where none is."""
    stacks = StackTable(stacks_max=3)
    stacks.add([101, 102, 103], [ADDRESSES] * 3)
    stacks.add([101, 104], [ADDRESSES] * 2)
    stacks.trim(lambda: {101, 102, 103, 104})

    assert [101 in stacks, 102 in stacks, 103 in stacks, 104 in stacks] == [True, False, True, True]
    assert stacks.forgotten == 1
    assert len(stacks) == 3


def test_within_the_bound_nobody_is_asked_what_is_in_use() -> None:
    """It would cost something at each read."""
    stacks = StackTable(stacks_max=3)
    stacks.add([101, 102, 103], [ADDRESSES] * 3)
    stacks.trim(lambda: pytest.fail("it was asked"))


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
