"""Quantiles of base-2 exponential histograms."""

from __future__ import annotations

import numpy as np
import pytest

from sonde.records.histogram import BLOCK_ROWS, bounds, quantiles


def counted(values: np.ndarray, buckets: int, scale: int) -> np.ndarray:
    """Count values in (lower, upper] buckets, by their definition."""
    index = np.ceil(np.log2(np.maximum(values, 1)) * 2**scale).astype(int) - 1
    return np.bincount(np.clip(index, 0, buckets - 1), minlength=buckets).astype(np.uint64)


def test_bounds_are_powers_of_the_base() -> None:
    """Scale 1 has two buckets for each power of two."""
    assert pytest.approx([1, 2**0.5, 2, 2**1.5, 4]) == bounds(4, 1)


def test_bounds_are_told_in_another_unit() -> None:
    """Durations are counted in units of 2^-30 s; a second is a bound, exactly, and so is 2^-9 s."""
    in_ns = bounds(88, 1, unit=1e9 / 2**30)

    assert [1e9, 1_953_125, 2.0**14 * 1e9] == [in_ns[60], in_ns[42], in_ns[88]]


@pytest.mark.parametrize("scale", [0, 1, 2])
def test_quantiles_lie_in_the_bucket_of_the_true_one(scale: int) -> None:
    """The estimate is off by at most the width of a bucket."""
    values = np.random.default_rng(7).lognormal(9, 2, 100_003)
    counts = counted(values, 44 << scale, scale)[None, :]

    found = quantiles(counts, scale, (0.5, 0.99))

    width = 2 ** (1 / 2**scale)
    for estimate, fraction in zip(found[:, 0], (0.5, 0.99), strict=True):
        true = np.quantile(values, fraction)
        assert true / width <= estimate <= true * width


def test_a_row_without_values_is_unknown() -> None:
    """An empty histogram has no quantiles; they are masked, and None in a row."""
    found = quantiles(np.zeros((1, 10), np.uint64), 1, (0.5,))

    assert [[None]] == found.tolist()


def test_one_value_stays_in_its_bucket() -> None:
    """All quantiles of a single value lie in its bucket."""
    counts = np.zeros((1, 20), np.uint64)
    counts[0, 6] = 1

    found = quantiles(counts, 1, (0.01, 0.5, 1.0))

    assert all(2**3 <= value <= 2**3.5 for value in found[:, 0])


def test_each_of_many_rows_has_its_own_quantiles() -> None:
    """More rows than are worked on at once, and not a whole number of times as many."""
    counts = np.zeros((2 * BLOCK_ROWS + 7, 40), np.uint64)
    at = np.arange(len(counts))
    counts[at, at % 39] = 1
    counts[at % 10 == 9] = 0

    found = quantiles(counts, 1, (0.5, 1.0))

    alone = [quantiles(row[None, :], 1, (0.5, 1.0))[:, 0].tolist() for row in counts]
    assert found.T.tolist() == alone
