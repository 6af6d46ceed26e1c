"""Written stacks, kept by key within a bound, each text once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sonde.enrich.kept_stacks import KEY_BYTES, TEXT_BYTES, KeptStacks
from sonde.records.frames import Frame, Written, written


def stack(name: str) -> Written:
    """Make a stack anew, as it is read out of a program's symbols."""
    return written([Frame("main"), Frame(name)])


SIZE = TEXT_BYTES + len("main;") + len("nn") + len(";") + len(";")


def test_stacks_that_are_alike_are_one_object() -> None:
    kept = KeptStacks(1 << 20)
    first = kept.put(1, stack("read"))

    assert kept.put(2, stack("read")) is first
    assert kept.get(2) is first
    assert kept.put(1, stack("write")) is first, "a key keeps what it has"
    assert (kept.get(3), len(kept)) == (None, 2)


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcde"))), st.integers(0, 4000))
def test_the_bound_is_of_keys_and_of_different_texts(puts: list[tuple[int, str]], bytes_max: int) -> None:
    """What is beyond is forgotten from the oldest on, and no more than that."""
    kept, model = KeptStacks(bytes_max), dict[int, str]()
    for key, name in puts:
        kept.put(key, stack(name))
        model.setdefault(key, name)
        kept.trim()
        while model and KEY_BYTES * len(model) + (SIZE + 1) * len(set(model.values())) > bytes_max:
            del model[next(iter(model))]
        assert {key: kept.get(key) for key in range(31)} == {
            key: stack(model[key]) if key in model else None for key in range(31)
        }


def test_the_lightest_go_before_the_others_but_after_what_nobody_names() -> None:
    kept = KeptStacks(1 << 20)
    for key in range(6):
        kept.put(key, stack("read"))
    kept.bytes_max = 2 * KEY_BYTES + SIZE + len("read")
    kept.trim(lambda: [5, 4, 1, 0])

    assert [key for key in range(6) if kept.get(key)] == [0, 1]
