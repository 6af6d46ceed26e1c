"""Buckets of durations: the kernel's are OpenTelemetry's, to the nanosecond."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from math import isqrt
from pathlib import Path

import pytest

from sonde.bpf import ObjectSpec
from sonde.records.metrics import DURATION_EXPONENT, DURATION_SCALE

pytestmark = pytest.mark.beside

BUCKETS = 88
LONGEST_NS = 2**14 * 10**9
UNITS_PER_SECOND = 2**-DURATION_EXPONENT


def bucket_of(duration_ns: int) -> int:
    """Find the bucket by its definition, in whole numbers: bucket i holds (2^(i/2), 2^((i+1)/2)] units of 2^-30 s.

    value > 2^(j/2) units is value^2 > 2^j units^2.
    """
    squared = (duration_ns * UNITS_PER_SECOND) ** 2
    index = 0
    while index < BUCKETS - 1 and squared > 2 ** (index + 1) * (10**9) ** 2:
        index += 1
    return index


def nanoseconds_of_bound(index: int) -> int:
    """Give the longest duration, in whole nanoseconds, that is not above a bound."""
    return isqrt(2**index * 10**18 // UNITS_PER_SECOND**2)


@pytest.fixture(scope="module")
def kernels_bucket(compile_object: Callable[[str | Path], Path]) -> Iterator[Callable[[int], int]]:
    """Give the function that the probes have, run by the kernel."""
    with ObjectSpec.open(compile_object("probes/buckets.bpf.c")) as spec, spec.load() as loaded:
        program = loaded.programs["bucket"]
        yield lambda duration_ns: program.test_run(ctx=struct.pack("Q", duration_ns)).return_value


def test_the_scale_is_one() -> None:
    """What follows reckons with two buckets per power of two."""
    assert DURATION_SCALE == 1


@pytest.mark.parametrize("bound", range(BUCKETS + 1))
def test_either_side_of_a_bound_is_in_its_own_bucket(
    kernels_bucket: Callable[[int], int], bound: int
) -> None:
    """What is not above a bound is below it, the next nanosecond is not: (lower, upper]."""
    last = nanoseconds_of_bound(bound)
    near = [each for each in range(last - 2, last + 3) if 0 <= each <= LONGEST_NS]

    assert [bucket_of(each) for each in near] == [kernels_bucket(each) for each in near]


def test_any_duration_is_in_its_bucket(kernels_bucket: Callable[[int], int]) -> None:
    """Small ones all; of the others 4,001, spread over the powers of two."""
    chosen = random.Random(7)
    durations = [*range(300), *(int(2 ** chosen.uniform(8, 43.89)) for _ in range(4001)), LONGEST_NS]

    assert [bucket_of(each) for each in durations] == [kernels_bucket(each) for each in durations]


def test_a_second_is_a_bound() -> None:
    """Powers of two of a second are bounds themselves, so that nothing is lost on the way to OpenTelemetry."""
    assert nanoseconds_of_bound(60) == 10**9
    assert bucket_of(10**9) + 1 == bucket_of(10**9 + 1) == 60
    assert bucket_of(LONGEST_NS) == BUCKETS - 1
