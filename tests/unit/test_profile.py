"""Profiles: what is added up for functions, threads and marks is what the rows say."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from profiles import LIBC, PYTHON, ROWS, TOTAL, WORK, Row, batch_of, measured, profile_of, texts
from sonde.records import profile as profile_module
from sonde.records.frames import MARK, REASON, Frame
from sonde.records.profile import Broken, Function, Measured, ProfileReader
from sonde.views.flame.tree import tree_of
from sonde.views.profile import broken_lines, facts, share


def function(name: str, *, module: str | None = None, rows: Sequence[Row] = ROWS) -> Function:
    found = profile_of(rows).functions.values()
    (one,) = [each for each in found if each.name == name and module in (None, each.module)]
    return one


def test_functions_have_what_is_theirs_and_what_they_call() -> None:
    assert (70, 70) == (function("seventy").own, function("seventy").total)
    assert (0, 100) == (function("main").own, function("main").total)
    assert (0, 20) == (function("twenty(int)").own, function("twenty(int)").total)
    assert (20, 20) == (function("less(int, int)").own, function("less(int, int)").total)
    assert TOTAL == profile_of().total == sum(each.own for each in profile_of().functions.values())


def test_a_function_is_at_the_place_that_most_of_its_weight_is_at() -> None:
    for rows in (ROWS, ROWS[::-1]):
        found = function("seventy", rows=rows)
        assert ("work.c:12", WORK) == (found.source, found.module)
    rows = [(1, "a", [Frame("f", file="a.c", line=line)], weight) for line, weight in ((3, 1), (9, 5))]
    (found,) = profile_of(rows).functions.values()
    assert "a.c:9" == found.source


def test_recursion_counts_once() -> None:
    assert 31 == function("py::run:/srv/job.py").total


def test_what_broke_off_is_counted_by_binary() -> None:
    expected = [
        Broken("[broken off]", PYTHON, 11),
        Broken("[no stack: it has ended]", "", 3),
    ]
    assert expected == profile_of().broken


def test_broken_stacks_are_told_with_their_reason() -> None:
    assert [
        "broken off 7.3 %: python3.11 7.3 % (built without frame pointers, so callers are missing)",
        "no stack: it has ended 2.0 %",
    ] == broken_lines(profile_of())


def test_the_heaviest_of_many_binaries_that_broke_off_are_named() -> None:
    rows = [
        (1, "a", [Frame("[broken off]", MARK), Frame("f", module=f"/lib/{number}.so")], number)
        for number in range(1, 6)
    ]
    (line,) = broken_lines(profile_of(rows))
    assert line.startswith("broken off 100 %: 5.so 33.3 %, 4.so 26.7 %, 3.so 20.0 %, 2 more 20.0 % (")


def test_whole_stacks_leave_nothing_to_tell() -> None:
    assert [] == broken_lines(profile_of(ROWS[:4]))


def test_facts_of_samples_and_of_time() -> None:
    assert ["10.0 s", "150 samples", "15.0 a second", "at 99 Hz on each CPU", "lost 2"] == facts(profile_of())
    blocked = profile_of(weight="blocked_ns")
    assert ["10.0 s", "150 ms in all", "150 times", "lost 2"] == facts(blocked)
    assert (150_000_000, 150) == (blocked.total, blocked.count)


@pytest.mark.parametrize(
    ("part", "words"),
    [(0, "0 %"), (0.1, "< 0.01 %"), (1, "0.01 %"), (96, "0.96 %"), (1234, "12.3 %"), (9996, "100 %")],
)
def test_shares_have_three_digits(part: float, words: str) -> None:
    assert words == share(part, 10_000)


def test_later_batches_are_read_by_the_same_numbers() -> None:
    """A live view reads cumulative rows each second; numbers of frames stay what they were."""
    reader = ProfileReader()
    batch = batch_of()
    first, again = reader.read(batch, Measured()), reader.read(batch, Measured())
    assert [stack.frames for stack in first.stacks] == [stack.frames for stack in again.stacks]
    assert list(again.frames) == list(ProfileReader().read(batch, Measured()).frames)


def test_rows_without_a_stack_and_the_row_of_all_others_are_marks() -> None:
    batch = batch_of([(0, "", [], 4), (1, "a", [], 3), (2, "b", [Frame("main")], 0), (0, "", [], 4)])
    batch = batch.adding({"is_other": np.array([True, False, False, True])})
    profile = ProfileReader().read(batch, measured(batch))
    names = [profile.frames[frame].name for stack in profile.stacks for frame in stack.frames]
    full = "[no stack: the table was full]"
    assert [full, "[no stack]", full] == names
    assert {MARK} == {profile.frames[frame].kind for stack in profile.stacks for frame in stack.frames}


def test_what_is_unknown_is_shown_as_such() -> None:
    batch = batch_of([(1, "a", [Frame("", "?", LIBC), Frame("f")], 3)])
    unknown = np.ma.masked_array(texts([None]), mask=[True])
    batch = batch.adding({"comm": unknown, "pid": np.ma.masked_array([1], mask=[True])})
    (stack,) = ProfileReader().read(batch, measured(batch)).stacks
    assert (None, "?", 2) == (stack.pid, stack.comm, len(stack.frames))


def test_other_columns_come_along_as_labels() -> None:
    batch = batch_of(ROWS[:2]).adding({"reason": texts(["futex", None]), "waker_comm": texts([None, "sh"])})
    stacks = ProfileReader().read(batch, measured(batch)).stacks
    assert [(("reason", "futex"),), (("waker", "sh"),)] == [stack.labels for stack in stacks]


def test_who_ended_a_wait_stands_behind_the_reason() -> None:
    """Where nobody was asked for, or seen, the reason is the innermost."""
    batch = batch_of(ROWS[:2]).adding(
        {"reason": texts(["futex", "futex"]), "waker_comm": texts(["sh", None])}
    )
    profile = ProfileReader().read(batch, measured(batch))
    names = [[profile.frames[frame].name for frame in stack.frames[-2:]] for stack in profile.stacks]
    assert ["[futex]", "[woken by sh]"] == names[0]
    assert "[futex]" == names[1][-1]
    assert {REASON} == {each.kind for each in profile.frames if each.name.startswith("[")}


def test_why_something_waited_stands_on_its_stack() -> None:
    """Each of them ends in the scheduler: functions would all have the same there."""
    batch = batch_of(ROWS[:2]).adding({"reason": texts(["futex", None])})
    profile = ProfileReader().read(batch, measured(batch))
    functions = {each.name: each for each in profile.functions.values()}
    assert (REASON, 63) == (functions["[futex]"].kind, functions["[futex]"].own)
    assert (7, 70) == (functions["seventy"].own, functions["seventy"].total)


def test_sampled_rows_stand_for_more() -> None:
    batch = dataclasses.replace(batch_of(), scale=10)
    profile = ProfileReader().read(batch, Measured())
    assert (10 * TOTAL, 10 * TOTAL) == (profile.total, profile.count)
    in_time = dataclasses.replace(batch_of(weight="blocked_ns"), scale=10)
    assert 10 * TOTAL == ProfileReader().read(in_time, Measured(weight="blocked_ns")).count


def test_samples_are_a_time_where_it_is_known_how_often_they_were_taken() -> None:
    assert [0, 500_000_000, 7] == [
        each.time_ns(weight)
        for each, weight in (
            (Measured(), 50),
            (Measured(frequency_hz=100.0), 50),
            (Measured(weight="blocked_ns"), 7),
        )
    ]


def test_columns_that_do_not_fit_together_are_read_as_far_as_they_go() -> None:
    """In a capture that somebody else has written."""
    batch = batch_of(ROWS[:1])
    batch.columns["frame_modules"][0] = WORK
    profile = ProfileReader().read(batch, measured(batch))
    (stack,) = profile.stacks
    assert [("_start", WORK), ("main", ""), ("seventy", "")] == [
        (profile.frames[frame].name, profile.frames[frame].module) for frame in stack.frames
    ]


def test_what_was_read_is_forgotten_when_it_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a live view of hours; each profile stays as it was."""
    monkeypatch.setattr(profile_module, "STACKS_MAX", 5)
    reader, profiles = ProfileReader(), []
    for turn in range(20):
        batch = batch_of([(1, "a", [Frame(f"f{turn}_{each}")], 1) for each in range(3)])
        profiles.append(reader.read(batch, Measured()))
    for turn, found in enumerate(profiles):
        named = [found.frames[stack.frames[0]].name for stack in found.stacks]
        assert [f"f{turn}_{each}" for each in range(3)] == named
    assert max(len(found.frames) for found in profiles) <= 9


def test_the_tree_has_each_stack_from_everything_on() -> None:
    tree = tree_of(profile_of(), boxes_max=1000)
    named = [(box.depth, tree.names[box.name].text, box.start, box.weight, box.own) for box in tree.boxes]
    assert (0, "all", 0, TOTAL, 0) == named[0]
    assert (1, "work", 50, 100, 0) in named
    assert (4, "seventy", 60, 70, 70) in named
    assert TOTAL == sum(box.own for box in tree.boxes)
    assert "2 processes" == next(each.module for each in tree.names if each.text == "work")


@pytest.mark.parametrize("boxes_max", range(1, 24))
def test_of_too_many_boxes_the_lightest_are_left_out_and_told(boxes_max: int) -> None:
    tree = tree_of(profile_of(), boxes_max=boxes_max)
    assert len(tree.boxes) <= boxes_max
    assert len(tree.boxes) + tree.left_out == len(tree_of(profile_of(), boxes_max=1000).boxes)
    assert all(box.weight >= tree.lightest for box in tree.boxes)
    depths = [box.depth for box in tree.boxes]
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(depths))
