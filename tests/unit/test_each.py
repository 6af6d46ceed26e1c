"""Columns from columns: each different value is told once, whatever it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde.enrich.each import SMALL, each_once

UNSIGNED = st.sampled_from(["u1", "u2", "u4", "u8"])
NUMBERS = st.lists(st.integers(0, 255) | st.integers(0, 2 * SMALL), max_size=50)


@given(NUMBERS, UNSIGNED, st.randoms(use_true_random=False))
def test_every_row_has_what_its_value_says(numbers: list[int], kind: str, random: Any) -> None:
    """As a loop over the rows would have it; small numbers go by a table, larger ones are sorted."""
    numbers = [number % (1 << 8 * np.dtype(kind).itemsize) for number in numbers]
    unknown = [random.random() < 0.2 for _ in numbers]
    told = each_once(np.ma.masked_array(np.array(numbers, dtype=kind), mask=unknown), str)

    assert told.tolist() == [
        None if is_unknown else str(number) for number, is_unknown in zip(numbers, unknown, strict=True)
    ]


@pytest.mark.parametrize(
    "values", [[3, 5, 3], [3, SMALL, 3], [3, 2**64 - 1, 3], [-1, 5, -1], ["b", "a", "b"]]
)
def test_each_different_value_is_told_once(values: list[Any]) -> None:
    asked = []
    kind = None if isinstance(values[0], str) or values[0] < 0 else np.uint64
    told = each_once(np.array(values, dtype=kind), lambda value: asked.append(value) or str(value))

    assert sorted(set(values)) == asked
    assert [str(value) for value in values] == told.tolist()


def test_what_is_not_told_is_unknown() -> None:
    told = each_once(np.array([1, 2, 1], dtype=np.uint16), lambda value: None if value == 1 else "two")

    assert [None, "two", None] == told.tolist()
