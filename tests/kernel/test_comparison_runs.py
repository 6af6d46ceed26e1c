"""The harness of the comparison runs what it says: a tool from its start to its answer, and what it took meanwhile."""

from __future__ import annotations

from functools import partial

import pytest
from benchmarks import crowds, streams, syscall_tools
from benchmarks.contender import Contender, Session, running, started
from benchmarks.results import Gathering

pytestmark = pytest.mark.host_only

OURS = {tool.name: tool for tool in syscall_tools.contenders()}


@pytest.mark.parametrize("name", [syscall_tools.COUNTS, syscall_tools.LATENCY])
def test_every_call_of_a_crowd_is_found_under_its_process(name: str) -> None:
    found = Gathering()
    crowds.one(OURS[name], 10, found)

    (row,) = found.rows([name], crowds.COLUMNS)
    assert row.cells["found"] == [100.0]
    assert row.said == "lost 0"
    assert row.cells["memory_mb"][0] > row.cells["kernel_mb"][0] > 0


def test_what_a_ring_has_no_room_for_is_counted_to_the_last_record() -> None:
    """Of a flood into a ring that is far too small, what came and what is told as lost are all that was made."""
    tool, count = next(each for each in streams.CONTENDERS if each[0].name == streams.SMALL)
    found = Gathering()
    streams.one(tool, count, 2_000_000, 0.5, found)

    (row,) = found.rows([tool.name], streams.COLUMNS)
    # Others on this machine may make the same call: more, never fewer.
    assert row.cells["accounted"][0] >= 100
    assert row.cells["delivered"][0] < 100


def test_a_tool_that_is_not_there_is_named_with_the_reason() -> None:
    found = Gathering()
    missing = Contender("nothing", "peer", partial(running, "no-such-tool"))
    with started(missing, found) as session:
        assert session is None

    (row,) = found.rows(["nothing"], [])
    assert "no-such-tool is not installed" in row.missing


def test_a_tool_that_ends_is_quoted() -> None:
    found = Gathering()
    with started(Contender("false", "peer", partial(running, "ls", "/nonexistent")), found) as session:
        assert session is None

    (row,) = found.rows(["false"], [])
    assert "it ended with status 2 and said: ls: cannot access '/nonexistent'" in row.missing


def test_a_floor_takes_nothing() -> None:
    with OURS[syscall_tools.FLOOR].start() as session:
        assert session == Session()
