"""Slots by key: the same as a dictionary says, whatever is added and removed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sonde.enrich.slot_index import NOWHERE, SlotIndex

KEYS = st.integers(0, 40) | st.integers(2**64 - 3, 2**64 - 1) | st.integers(0, 2**64 - 1)


def array(numbers: list[int]) -> np.ndarray:
    return np.array(numbers, np.uint64)


@given(st.lists(st.tuples(st.booleans(), st.sets(KEYS, max_size=8)), max_size=12), st.lists(KEYS, max_size=8))
def test_it_finds_what_a_dictionary_does(steps: list[tuple[bool, set[int]]], asked: list[int]) -> None:
    index, oracle = SlotIndex(), dict[int, int]()
    for is_added, keys in steps:
        chosen = [key for key in keys if (key in oracle) != is_added]
        slots = [len(oracle) * 100 + at for at in range(len(chosen))]
        if is_added:
            index.add(array(chosen), np.array(slots, np.intp))
            oracle.update(zip(chosen, slots, strict=True))
        else:
            index.remove(array(chosen))
            oracle = {key: slot for key, slot in oracle.items() if key not in chosen}

        assert len(oracle) == len(index)
        wanted = [*asked, *oracle]
        assert [oracle.get(key, NOWHERE) for key in wanted] == index.find(array(wanted)).tolist()


@given(st.sets(KEYS, max_size=12), KEYS, KEYS)
def test_the_last_within_bounds_is_found(keys: set[int], one: int, another: int) -> None:
    least, most = sorted((one, another))
    index = SlotIndex()
    index.add(array(list(keys)), np.arange(len(keys)))

    within = [key for key in keys if least <= key <= most]
    expected = list(keys).index(max(within)) if within else NOWHERE
    assert expected == index.last(least=least, most=most)
