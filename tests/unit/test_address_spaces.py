"""Address spaces from records: who had mapped what, when, whatever became of the process."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from side_band_story import LIBC, SHELL, TOOL, Story, at, spaces_of
from sonde.bpf.side_band import EXEC, EXIT, FORK, MappedPath
from sonde.enrich import address_spaces
from sonde.enrich.address_spaces import AddressSpaces
from sonde.enrich.process_maps import CodeMapping, parse_maps

MEMORY = MappedPath("", 0, 0)


def test_an_address_is_a_place_in_the_file_that_is_mapped_there() -> None:
    story = Story()
    story.tell(EXEC, 7)
    last = story.map(7, 0x5000, 0x6000, offset=0x1000)
    spaces = spaces_of(story)
    assert at(spaces, 7, last, 0x4FFF, 0x5000, 0x5FFF, 0x6000) == [
        None,
        ("/tool", 0x1000),
        ("/tool", 0x1FFF),
        None,
    ]
    assert at(spaces, 8, last, 0x5000) == [None]


def test_children_have_what_their_parents_had_when_they_were_forked() -> None:
    story = Story()
    story.map(7, 0x5000, 0x6000, SHELL)
    story.tell(FORK, 8, parent=7)
    story.map(7, 0x7000, 0x8000, LIBC)
    last = story.map(8, 0x9000, 0xA000, TOOL)
    spaces = spaces_of(story)
    assert at(spaces, 8, last, 0x5000, 0x9000) == [("/sh", 0), ("/tool", 0)]
    assert at(spaces, 7, last, 0x5000, 0x7000, 0x9000) == [("/sh", 0), ("/libc", 0), None]


def test_what_a_parent_replaced_before_the_fork_is_not_inherited() -> None:
    story = Story()
    story.map(7, 0x5000, 0x6000, SHELL)
    story.map(7, 0x5000, 0x6000, TOOL)
    forked = story.tell(FORK, 8, parent=7)
    story.map(7, 0x5000, 0x6000, LIBC)
    assert at(spaces_of(story), 8, forked, 0x5000) == [("/tool", 0)]


def test_an_exec_begins_anew_and_what_was_before_stays_known() -> None:
    story = Story()
    story.tell(FORK, 8, parent=7)
    before = story.map(8, 0x5000, 0x6000, SHELL)
    story.tell(EXEC, 8)
    after = story.map(8, 0x7000, 0x8000, TOOL)
    spaces = spaces_of(story)
    assert at(spaces, 8, before, 0x5000, 0x7000) == [("/sh", 0), None]
    assert at(spaces, 8, after, 0x5000, 0x7000) == [None, ("/tool", 0)]


def test_a_pid_that_is_used_again_is_another_process() -> None:
    story = Story()
    story.tell(FORK, 8, parent=1)
    first = story.map(8, 0x5000, 0x6000, SHELL)
    story.tell(EXIT, 8)
    story.tell(FORK, 8, parent=1)
    second = story.map(8, 0x5000, 0x6000, TOOL)
    story.tell(EXIT, 8)
    spaces = spaces_of(story)
    assert at(spaces, 8, first, 0x5000) == [("/sh", 0)]
    assert at(spaces, 8, second + 1000, 0x5000) == [("/tool", 0)]


def test_a_mapping_in_anothers_place_leaves_what_is_beside_it() -> None:
    """Nobody tells when something is unmapped: what comes in its place does."""
    story = Story()
    before = story.map(7, 0x1000, 0x9000, LIBC)
    after = story.map(7, 0x3000, 0x5000, TOOL, offset=0x100)
    spaces = spaces_of(story)
    assert at(spaces, 7, before, 0x3000, 0x8000) == [("/libc", 0x2000), ("/libc", 0x7000)]
    assert at(spaces, 7, after, 0x2FFF, 0x3000, 0x5000) == [
        ("/libc", 0x1FFF),
        ("/tool", 0x100),
        ("/libc", 0x4000),
    ]


def test_pieces_of_one_mapping_become_one() -> None:
    """A protection that is changed in parts is told in parts."""
    story = Story()
    story.map(7, 0x1000, 0x3000, LIBC)
    last = story.map(7, 0x2000, 0x4000, LIBC, offset=0x1000)
    mappings = spaces_of(story).at(7, last)
    assert mappings is not None
    assert [(each.start, each.end) for each in mappings.spans] == [(0x1000, 0x4000)]


def test_a_piece_that_comes_after_the_fork_takes_nothing_from_the_child() -> None:
    story = Story()
    story.map(7, 0x1000, 0x3000, LIBC)
    story.tell(FORK, 8, parent=7)
    story.map(7, 0x2000, 0x4000, LIBC, offset=0x1000)
    assert at(spaces_of(story), 8, story.now, 0x1000) == [("/libc", 0)]


def test_a_mapping_without_a_place_changes_nothing() -> None:
    """Whoever writes records of his own, or a kernel that is wrong, does not take what is there away."""
    story = Story()
    story.map(7, 0x1000, 0x9000, LIBC)
    story.map(7, 0x6000, 0x3000, TOOL)
    story.map(7, 0x6000, 0x6000, TOOL)
    assert at(spaces_of(story), 7, story.now, 0x4000, 0x7000) == [("/libc", 0x3000), ("/libc", 0x6000)]


def test_a_state_has_one_number_until_something_is_mapped() -> None:
    story = Story()
    last = story.map(7, 0x1000, 0x3000, LIBC)
    spaces = spaces_of(story)
    first, again = spaces.at(7, last), spaces.at(7, last + 5)
    story.map(7, 0x8000, 0x9000, TOOL)
    spaces.take(story.records())
    assert first is again
    assert spaces.at(7, story.now) is not first


def test_records_that_come_late_are_put_where_they_belong() -> None:
    """CPU by CPU records are taken: what one tells last may be older than what another told before."""
    story = Story()
    story.tell(EXEC, 7)
    late = story.now + 5
    story.now += 10
    story.tell(EXEC, 7)
    last = story.map(7, 0x5000, 0x6000, TOOL)
    spaces = spaces_of(story)
    story.now = late - 10
    story.map(7, 0x5000, 0x6000, SHELL)
    spaces.take(story.records())
    assert at(spaces, 7, late, 0x5000) == [("/sh", 0)]
    assert at(spaces, 7, last, 0x5000) == [("/tool", 0)]


def test_a_long_line_of_forks_needs_no_deep_stack() -> None:
    story = Story()
    story.map(1, 0x5000, 0x6000, SHELL)
    for pid in range(2, 3000):
        story.tell(FORK, pid, parent=pid - 1)
    assert at(spaces_of(story), 2999, story.now, 0x5000) == [("/sh", 0)]


def test_what_was_there_before_is_read_and_later_records_add_to_it() -> None:
    spaces = AddressSpaces(read=lambda pid: [CodeMapping(0x1000, 0x2000, 0, LIBC)] if pid == 7 else None)
    spaces.begin(lambda: [7, 8])
    story = Story()
    story.tell(FORK, 9, parent=7)
    story.now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    story.map(7, 0x5000, 0x6000)
    spaces.take(story.records())
    assert at(spaces, 7, story.now, 0x1000, 0x5000) == [("/libc", 0), ("/tool", 0)]
    assert at(spaces, 9, story.now, 0x1000, 0x5000) == [("/libc", 0), None]


def test_those_that_are_asked_for_are_looked_at_before_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each once; when it is over nobody else is."""
    told: list[int] = []
    AddressSpaces(read=told.append).begin(lambda: [7, 8, 9], first=[9])
    assert told == [9, 7, 8]
    monkeypatch.setattr(address_spaces, "SNAPSHOT_S", -1.0)
    told.clear()
    AddressSpaces(read=told.append).begin(lambda: [7, 8, 9], first=[9])
    assert told == [9]


def test_who_was_not_looked_at_is_read_when_asked_for_and_so_are_its_children() -> None:
    story, spaces = Story(), AddressSpaces(read=lambda pid: [CodeMapping(pid << 12, pid + 1 << 12, 0, LIBC)])
    story.tell(FORK, 8, parent=7)
    spaces.take(story.records())
    assert at(spaces, 8, story.now, 0x8000) == [("/libc", 0)]
    assert at(spaces, 7, story.now, 0x7000) == [("/libc", 0)]


def test_after_a_loss_what_lives_is_read_again() -> None:
    told: list[int] = []

    def read(pid: int) -> list[CodeMapping]:
        told.append(pid)
        return [CodeMapping(0x1000, 0x2000, 0, LIBC)]

    story, spaces = Story(), AddressSpaces(read=read)
    story.tell(FORK, 8, parent=7)
    story.tell(EXEC, 8)
    spaces.take(story.records())
    assert at(spaces, 8, story.now, 0x1000) == [None]
    spaces.take(story.records(), lost=3)
    assert at(spaces, 8, story.now, 0x1000) == [("/libc", 0)]
    assert at(spaces, 8, story.now, 0x1000) == [("/libc", 0)]
    assert (told, spaces.lost) == ([8], 3)


def test_who_comes_from_whom_is_known() -> None:
    story = Story()
    story.tell(FORK, 8, parent=7)
    story.tell(FORK, 9, parent=8)
    story.tell(EXEC, 9)
    assert spaces_of(story).lineage(9) == (9, 8, 7)


def test_a_new_file_is_told_once() -> None:
    told: list[tuple[int, MappedPath]] = []
    story, spaces = Story(), AddressSpaces(read=lambda _: None, on_file=lambda *what: told.append(what))
    for pid in (7, 8):
        story.map(pid, 0x1000, 0x2000, LIBC)
        story.map(pid, 0x5000, 0x6000, MEMORY, offset=0x5000)
    spaces.take(story.records())
    assert told == [(7, LIBC)]


def test_a_file_is_told_of_again_when_what_was_mapped_before_has_its_names() -> None:
    """Then nobody keeps it, and another file may have got its inode. What came meanwhile is still kept."""
    told: list[str] = []
    story, spaces = (
        Story(),
        AddressSpaces(read=lambda _: None, on_file=lambda _, file: told.append(file.path)),
    )
    moments = []
    for files in ((LIBC,), (TOOL,), (LIBC, TOOL)):
        moments.append(time.monotonic_ns())
        for file in files:
            story.map(7, 0x1000, 0x2000, file)
        spaces.take(story.records())
        story.files = {}
        if len(moments) == 2:
            spaces.forget(moments[1])
    assert told == ["/libc", "/tool", "/libc"]


SPANS = st.tuples(st.integers(0, 30), st.integers(1, 12), st.integers(0, 3))


@settings(max_examples=200)
@given(st.lists(SPANS, max_size=12))
def test_the_last_mapping_of_a_page_holds(spans: list[tuple[int, int, int]]) -> None:
    """The same as a table of pages that each mapping overwrites."""
    files = [MappedPath(f"/f{number}", 1, number + 1) for number in range(4)]
    story, pages = Story(), dict[int, tuple[str, int]]()
    for start, length, which in spans:
        offset = (start * 7 + which) % 5
        story.map(7, start << 12, (start + length) << 12, files[which], offset=offset << 12)
        pages |= {start + page: (files[which].path, (offset + page) << 12) for page in range(length)}
    spaces = spaces_of(story)
    if spans:
        found = at(spaces, 7, story.now, *[page << 12 for page in range(48)])
        assert found == [pages.get(page) for page in range(48)]


MAPS = b"""\
55d0c0a00000-55d0c0a25000 r--p 00000000 fe:00 12345  /usr/bin/tool
55d0c0a25000-55d0c0b00000 r-xp 00025000 fe:00 12345  /usr/bin/tool
7f0000000000-7f0000001000 rwxp 00000000 00:00 0
7f0000002000-7f0000003000 r-xp 00001000 fe:00 77     /tmp/a b\\012c (deleted)
7ffd7a3f6000-7ffd7a3f8000 r-xp 00000000 00:00 0      [vdso]
broken
"""


def test_a_list_of_mappings_gives_code_alone() -> None:
    found = parse_maps(MAPS)
    assert [(each.start, each.file_offset, each.file.path, each.file.inode) for each in found] == [
        (0x55D0C0A25000, 0x25000, "/usr/bin/tool", 12345),
        (0x7F0000000000, 0x7F0000000000, "", 0),
        (0x7F0000002000, 0x1000, "/tmp/a b\nc", 77),
        (0x7FFD7A3F6000, 0, "[vdso]", 0),
    ]
