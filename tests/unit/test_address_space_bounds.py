"""Address spaces are bounded: what is forgotten, when, and that it is counted."""

from __future__ import annotations

import pytest

from side_band_story import LIBC, SHELL, TOOL, Story, at, spaces_of
from sonde.bpf.side_band import EXEC, EXIT, FORK, MappedPath
from sonde.enrich import address_space, address_spaces
from sonde.enrich.address_spaces import AddressSpaces


def test_a_process_that_ended_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is told, and then its number is another's."""
    monkeypatch.setattr(address_spaces, "ENDED_MAX", 2)
    story = Story()
    for _ in range(2):
        story.tell(FORK, 8, parent=1)
        story.tell(EXIT, 8)
    assert spaces_of(story).forgotten == 0


def test_what_has_not_ended_before_that_moment_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a program of which is told only after the one that came behind it."""
    monkeypatch.setattr(address_spaces, "KEPT_MAX", 0)
    story = Story()
    ends = []
    for pid in (8, 9):
        story.map(pid, 0x5000, 0x6000)
        ends.append(story.tell(EXIT, pid))
    late = story.now + 5
    story.now += 10
    story.tell(EXEC, 7)
    story.map(7, 0x5000, 0x6000)
    spaces, now = spaces_of(story), story.now
    story.now = late - 10
    story.tell(EXEC, 7)
    spaces.take(story.records())
    spaces.forget(ends[1])
    assert [at(spaces, pid, now, 0x5000) for pid in (7, 8, 9)] == [[("/tool", 0)], [None], [("/tool", 0)]]
    spaces.forget(now + 1)
    assert at(spaces, 7, now, 0x5000) == [("/tool", 0)]


def test_of_too_many_states_the_oldest_that_is_known_stands_for_those_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(address_space, "STATES_MAX", 3)
    story = Story()
    times = [story.map(7, 0x5000, 0x6000, MappedPath(f"/f{number}", 1, number + 1)) for number in range(10)]
    spaces = spaces_of(story)
    assert [at(spaces, 7, time_ns, 0x5000) for time_ns in (times[0], times[8], times[9])] == [
        [("/f7", 0)],
        [("/f8", 0)],
        [("/f9", 0)],
    ]


def test_records_of_whom_nobody_asks_for_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_space, "PENDING_MAX", 3)
    story = Story()
    for _ in range(20):
        story.map(7, 0x5000, 0x6000)
    assert spaces_of(story)._spaces[7][0].size == 1


def test_ended_processes_are_forgotten_when_they_were_read_and_counted_when_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(address_spaces, "KEPT_MAX", 10)
    monkeypatch.setattr(address_spaces, "ENDED_MAX", 100)
    story, spaces = Story(), AddressSpaces(read=lambda _: None)
    story.map(7, 0x1000, 0x2000)
    for pid in range(1000, 1150):
        story.tell(FORK, pid, parent=7)
        story.map(pid, 0x5000, 0x6000)
        story.tell(EXIT, pid)
    spaces.take(story.records())
    assert (len(spaces), spaces.forgotten) == (1 + 100, 50)
    assert at(spaces, 1000, story.now, 0x5000) == [None]
    assert at(spaces, 1149, story.now, 0x5000) == [("/tool", 0)]
    spaces.forget(story.now + 1)
    assert (len(spaces), spaces.forgotten) == (1 + 10, 50)


def test_a_line_of_forks_ends_somewhere() -> None:
    """Numbers are used again: one that comes from itself is where it ends."""
    story = Story()
    for pid in range(2, 100):
        story.tell(FORK, pid, parent=pid - 1)
    story.tell(FORK, 1, parent=2)
    spaces = spaces_of(story)
    assert spaces.lineage(99) == tuple(range(99, 99 - address_spaces.LINEAGE_MAX, -1))
    assert spaces.lineage(1) == (1, 2)


def test_of_too_many_files_the_oldest_are_new_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_spaces, "FILES_MAX", 2)
    told: list[str] = []
    story, spaces = (
        Story(),
        AddressSpaces(read=lambda _: None, on_file=lambda _, file: told.append(file.path)),
    )
    for file in (LIBC, SHELL, TOOL, LIBC):
        story.map(7, 0x1000, 0x2000, file)
        spaces.take(story.records())
        story.files = {}
    assert told == ["/libc", "/sh", "/tool", "/libc"]


def test_what_ended_processes_had_mapped_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may map code as often as it likes, and have children that do."""
    monkeypatch.setattr(address_spaces, "ENDED_MAPPINGS_MAX", 1000)
    story, spaces = Story(), AddressSpaces(read=lambda _: None)
    for pid in range(1000, 1020):
        story.tell(FORK, pid, parent=7)
        for number in range(100):
            story.map(pid, number << 20, (number << 20) + 4096)
        story.tell(EXIT, pid)
    spaces.take(story.records())
    assert (len(spaces), spaces.forgotten) == (1 + 10, 10)
    assert at(spaces, 1019, story.now, 99 << 20) == [("/tool", 0)]


def test_processes_whose_beginning_was_lost_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which is told only what they mapped, and that they ended, at once."""
    monkeypatch.setattr(address_spaces, "ENDED_MAX", 10)
    story, spaces = Story(), AddressSpaces(read=lambda _: None)
    for pid in range(1000, 1050):
        story.map(pid, 0x5000, 0x6000)
        story.tell(EXIT, pid)
    spaces.take(story.records(), lost=50)
    assert (len(spaces), spaces.forgotten) == (10, 40)
    assert at(spaces, 1049, story.now, 0x5000) == [("/tool", 0)]


def test_a_process_has_so_many_mappings_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_space, "SPANS_MAX", 50)
    story = Story()
    for number in range(100):
        story.map(7, number << 20, (number << 20) + 4096)
    mappings = spaces_of(story).at(7, story.now)
    assert mappings is not None
    assert len(mappings.spans) == 50
