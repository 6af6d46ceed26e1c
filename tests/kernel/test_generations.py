"""Tables of stacks, read and emptied while programs count in them: nothing is lost, and nothing is counted twice."""

from __future__ import annotations

import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from kernel.compiled import object_of
from sonde.bpf.object import Object, ObjectSpec
from sonde.records.generations import GenerationRows
from sonde.records.sources import TableSource
from sonde.records.stacks import MISSING, StackTable

THREADS, RUNS, KEYS, READS = 4, 251, 97, 7
DWELL = 2048
"""A program holds its row for a millisecond and more: a reader that does not wait empties it meanwhile."""


@contextmanager
def made(*, rows: int = 1024, stacks: int = 2048, dwell: int = 0, depth: int = 127) -> Iterator[Object]:
    """Load the object, with so much room in each generation."""
    with ObjectSpec.open(object_of("stacks/generations.bpf.c")) as spec:
        for name, entries in (("made", rows), ("made_stacks", stacks)):
            for each in (name, name.replace("made", "made_odd")):
                spec.maps[each].max_entries = entries
        spec.knobs["dwell"].value = dwell
        spec.knobs["stack_depth_max"].value = depth
        loaded = spec.load()
    with loaded:
        yield loaded


def run(loaded: Object, number: int, depth: int) -> None:
    """Count once under a number, with a stack of so many frames."""
    loaded.programs["made_up"].test_run(ctx=struct.pack("=QQ", number, depth))


def rows_of(loaded: Object, *, keep: bool = True, stacks: StackTable | None = None) -> GenerationRows:
    return GenerationRows(loaded.maps, "made", weight="count", keep=keep, stacks=stacks)


def depth_of(number: int) -> int:
    """Choose a depth of 1 to 127 frames by a number."""
    return number * 7 % 127 + 1


@contextmanager
def counting(loaded: Object, reads: Callable[[], int] = lambda: RUNS) -> Iterator[list[threading.Thread]]:
    """Count from several threads: each key's share of THREADS × RUNS; READS parts, each behind as many of ``reads``."""
    ended = threading.Event()

    def count() -> None:
        for at in range(RUNS):
            while reads() < at * READS // RUNS and not ended.wait(0.001):
                pass
            number = at % KEYS
            run(loaded, number, depth_of(number))

    threads = [threading.Thread(target=count) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        ended.set()
        for thread in threads:
            thread.join()


EXPECTED = Counter(at % KEYS for at in range(RUNS) for _ in range(THREADS))


def test_counts_are_exact_while_generations_are_read_and_emptied() -> None:
    """Every run is in the rows once, with its stack, however often they were read meanwhile."""
    stacks = StackTable()
    with made(dwell=DWELL) as loaded:
        rows = rows_of(loaded, stacks=stacks)
        reads = 0
        with counting(loaded, lambda: reads) as threads:
            while any(thread.is_alive() for thread in threads):
                rows.read()
                reads += 1
        keys, values = rows.read()

        assert reads >= READS - 1
        assert dict(zip(keys["number"].tolist(), values["count"].tolist(), strict=True)) == EXPECTED
        for number, stack in zip(keys["number"].tolist(), keys["kernel_stack"].tolist(), strict=True):
            np.testing.assert_array_equal(
                stacks[stack], number + np.arange(depth_of(number), dtype=np.uint64)
            )
        assert len(stacks) == KEYS
        again, _ = rows.read()
        assert len(again) == KEYS
        assert rows.used == 0


def test_differences_add_up_to_what_was_counted() -> None:
    """A reader of differences gets each count once, and nothing is kept."""
    with made(dwell=DWELL) as loaded:
        source = TableSource(
            loaded.maps["made"],
            name="made",
            counters=dict,
            count=lambda columns: columns["count"],
            other=loaded.maps["made_other"],
            rows=rows_of(loaded, keep=False),
            differences=True,
        )
        total: Counter[int] = Counter()
        with counting(loaded) as threads:
            running = True
            while running:
                running = any(thread.is_alive() for thread in threads)
                batch = source.read()
                for row in batch.rows(("number", "count")):
                    total[row["number"]] += row["count"]

        assert total == EXPECTED
        assert source.read().accounting.aggregated == THREADS * RUNS


def test_what_finds_a_generation_full_is_counted_in_other() -> None:
    """Rows that have no room are in other, exactly; a stack that has none is a number that says so."""
    with made(rows=8, stacks=4) as loaded:
        rows = rows_of(loaded, stacks=StackTable())
        for number in range(2 * KEYS):
            run(loaded, number % KEYS, 5)
        keys, values = rows.read()
        ((other, *_),) = loaded.maps["made_other"].totals().values()  # type: ignore[attr-defined]

        assert len(keys) == 8
        assert other == 2 * KEYS - int(values["count"].sum())
        unkept = keys["kernel_stack"] == 1
        assert MISSING[1] == "map of stacks full"
        assert int(unkept.sum()) == 4
        assert loaded.variables["notes"].value.stacks_full == 2 * (KEYS - 4)
        # The next generation has room again.
        run(loaded, 1000, 5)
        keys, _ = rows.read()
        assert set(keys["number"].tolist()) == {*range(8), 1000}


def test_a_stack_has_the_same_number_in_each_generation_and_another_one_another() -> None:
    """Numbers are made of addresses alone: depth, order and each address tell."""
    stacks = StackTable()
    with made() as loaded:
        rows = rows_of(loaded, stacks=stacks)
        numbers: list[int] = []
        for _ in range(3):
            for depth in range(1, 128):
                run(loaded, 4096, depth)
            keys, _ = rows.read()
            numbers = sorted(keys["kernel_stack"].tolist())

        assert len(set(numbers)) == 127
        assert sorted(len(stacks[number]) for number in numbers) == list(range(1, 128))
        assert min(numbers) >= 16


def test_stacks_that_rows_name_are_the_last_to_be_forgotten() -> None:
    """Beyond the bound those go first that no row names, for it found its generation full, however new they are."""
    stacks = StackTable(stacks_max=16)
    with made(rows=8, stacks=16) as loaded:
        rows = rows_of(loaded, stacks=stacks)
        keys = np.empty(0)
        for generation in range(2):
            for number in range(16):
                run(loaded, 1000 * generation + 7 * number, 5)
            keys, _ = rows.read()

        assert stacks.forgotten == 16
        assert len(keys) == 16
        assert [each for each in keys["kernel_stack"].tolist() if each not in stacks] == []


def test_stacks_of_the_task_are_taken_from_where_it_is() -> None:
    """Of user space and of the kernel, and one that is as deep as may be is noted as cut."""
    stacks = StackTable()
    with made(depth=3) as loaded:
        loaded.programs["own_stacks"].test_run(ctx=struct.pack("=QQ", 0, 0))
        keys, _ = rows_of(loaded, stacks=stacks).read()
        by_number = dict(zip(keys["number"].tolist(), keys["kernel_stack"].tolist(), strict=True))

        kernel, user = stacks[by_number[0]], stacks[by_number[1]]
        assert (kernel >> np.uint64(63)).all()
        assert not (user >> np.uint64(63)).any()
        assert loaded.variables["notes"].value.stacks_truncated >= 1


@pytest.mark.parametrize("keep", [True, False])
def test_nobody_needs_the_stacks(*, keep: bool) -> None:
    """Without a table of stacks they are emptied all the same."""
    with made(stacks=4) as loaded:
        rows = rows_of(loaded, keep=keep)
        for number in range(12):
            run(loaded, number, 3)
            rows.read()

        assert loaded.variables["notes"].value.stacks_full == 0
