"""Conformance: every kind of link attaches, counts, can be closed, and leaves nothing, in the same words.

A hook that this kernel lacks is skipped for evidence only (evidence.py), and must then say so as NotSupportedError.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kernel.evidence import absent
from kernel.hook_cases import CASES, Case, Stage
from kernel.leftovers import GONE_WITHIN_S, exists, wait_until_gone
from sonde._libbpf import ffi, lib
from sonde.bpf import Link, Object
from sonde.errors import KernelError, NotSupportedError, SondeError

COUNT = 13
UPDATED = 1000


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request: pytest.FixtureRequest, require_feature: Callable[[str], None]) -> Case:
    chosen: Case = request.param
    for feature in chosen.features:
        require_feature(feature)
    return chosen


@pytest.fixture(scope="module")
def stage(case: Case) -> Iterator[Stage]:
    """One for all tests of a case, which come one after the other: a network takes seconds in a virtual machine."""
    with case.stage() as made:
        yield made


@pytest.fixture
def loaded(case: Case, stage: Stage) -> Iterator[Object]:
    with case.load(stage, other=True) as made:
        yield made


@pytest.fixture
def link(case: Case, stage: Stage, loaded: Object) -> Link:
    return loaded.programs[case.program].attach(case.hook(stage))


def runs(loaded: Object) -> int:
    return int(loaded.variables["runs"].value)


def work(case: Case, stage: Stage, loaded: Object, link: Link) -> int:
    """How often the program ran for COUNT pieces of work."""
    before = runs(loaded)
    case.work(stage, link, COUNT)
    return runs(loaded) - before


def assert_counts(case: Case, stage: Stage, loaded: Object, link: Link, *, each: int = 1) -> None:
    counted = work(case, stage, loaded, link)
    if case.exact:
        assert counted == COUNT * each
    else:
        assert counted >= each


def test_attached_program_runs_once_for_each_piece_of_work(
    case: Case, stage: Stage, loaded: Object, link: Link
) -> None:
    assert_counts(case, stage, loaded, link)


def test_link_has_the_number_and_the_descriptor_that_the_kernel_gave(
    case: Case, loaded: Object, link: Link
) -> None:
    if case.held_by == "nothing":
        assert (link.ids, link.descriptors) == ((), ())
        with pytest.raises(SondeError, match="descriptor"):
            _ = link.fd
        return
    for fd in link.descriptors:
        assert os.path.exists(f"/proc/self/fd/{fd}")
    assert len(link.ids) == (len(link.descriptors) if case.has_id else 0)
    for number in link.ids:
        fd = lib.bpf_link_get_fd_by_id(number)
        assert fd >= 0
        info, size = ffi.new("struct bpf_link_info *"), ffi.new("__u32 *", ffi.sizeof("struct bpf_link_info"))
        assert lib.bpf_link_get_info_by_fd(fd, info, size) == 0
        os.close(fd)
        assert info.prog_id == loaded.programs[case.program].id


def test_update_puts_another_program_in_its_place_or_says_that_it_cannot(
    case: Case, stage: Stage, loaded: Object, link: Link
) -> None:
    if not case.other:
        with pytest.raises(NotSupportedError, match="replac"):
            link.update(loaded.programs[case.program])
        return
    link.update(loaded.programs[case.other])
    assert_counts(case, stage, loaded, link, each=UPDATED)


def test_pinned_link_stays_when_closed_and_goes_when_unpinned(
    case: Case, stage: Stage, loaded: Object, link: Link, bpf_filesystem: Path
) -> None:
    path = bpf_filesystem / "link"
    if not case.can_pin or len(link.descriptors) > 1:
        with pytest.raises(NotSupportedError, match="pin"):
            link.pin(path)
        return
    link.pin(path)
    number = link.id
    assert number is not None
    link.close()
    assert exists("link", number)
    if case.name != "iter":  # an iterator runs by its descriptor alone
        assert_counts(case, stage, loaded, link)
    link.unpin(path)
    # The kernel takes the number away a moment before it detaches, and both after unlink has returned.
    wait_until_gone("link", number)
    deadline = time.monotonic() + GONE_WITHIN_S
    while work(case, stage, loaded, link):
        assert time.monotonic() < deadline, "it runs on"


def test_closed_link_counts_no_more_and_may_be_closed_again(
    case: Case, stage: Stage, loaded: Object, link: Link
) -> None:
    numbers = link.ids
    link.close()
    link.close()
    assert link.closed
    assert work(case, stage, loaded, link) == 0
    # Who looks at all links, as others' tests do, has each of them for a moment.
    for number in numbers:
        wait_until_gone("link", number)


def test_closed_link_refuses_every_use(case: Case, loaded: Object, link: Link, tmp_path: Path) -> None:
    link.close()
    for use in (
        lambda: link.fd,
        lambda: link.descriptors,
        lambda: link.id,
        lambda: link.can_update,
        lambda: link.update(loaded.programs[case.program]),
        lambda: link.pin(tmp_path / "pin"),
    ):
        with pytest.raises(SondeError, match="it is closed") as caught:
            use()
        assert not isinstance(caught.value, KernelError)
    assert repr(link).endswith("(closed)>")


def test_context_manager_detaches(case: Case, stage: Stage, loaded: Object, link: Link) -> None:
    with link:
        assert_counts(case, stage, loaded, link)
    assert work(case, stage, loaded, link) == 0


def test_object_close_closes_its_links(case: Case, loaded: Object, link: Link) -> None:
    number = loaded.programs[case.program].id
    assert loaded.links == [link]
    loaded.close()
    assert link.closed
    wait_until_gone("prog", number)


def test_forgotten_object_is_detached_and_freed(case: Case, stage: Stage) -> None:
    loaded = case.load(stage)
    link = loaded.programs[case.program].attach(case.hook(stage))
    program, links = loaded.programs[case.program].id, link.ids
    maps = [each.id for each in loaded.maps.values()]
    del loaded, link
    gc.collect()
    for number in links:
        wait_until_gone("link", number)
    wait_until_gone("prog", program)
    for number in maps:
        wait_until_gone("map", number)


def test_killed_process_leaves_nothing(case: Case, stage: Stage) -> None:
    """kill -9: no link, no program, and for clsact no filter and no qdisc."""
    child, said = attached_in_a_child(case, stage)
    try:
        program, *links = json.loads(said)
        assert exists("prog", program)
        assert all(exists("link", number) for number in links)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    wait_until_gone("prog", program)
    for number in links:
        wait_until_gone("link", number)
    if case.name.startswith("clsact"):
        assert qdiscs(stage) == []


def attached_in_a_child(case: Case, stage: Stage) -> tuple[int, str]:
    """Attach in a process that then waits to be killed; its pid, and the numbers of the program and the links.

    It is forked, for to start Python and import all this takes a virtual machine six seconds.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            loaded = case.load(stage)
            link = loaded.programs[case.program].attach(case.hook(stage))
            os.write(writer, json.dumps([loaded.programs[case.program].id, *link.ids]).encode())
            os.close(writer)
            time.sleep(600)
        except BaseException as error:  # noqa: BLE001  # whatever it fails with is told to the test
            os.write(writer, repr(error).encode())
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader) as pipe:
        return child, pipe.read()


def qdiscs(stage: Stage) -> list[str]:
    """The clsact qdiscs of the interface; the guardian takes ours away a moment after the filter."""
    end = time.monotonic() + GONE_WITHIN_S
    while True:
        shown = subprocess.run(
            ["tc", "qdisc", "show", "dev", stage.wire.interface], check=True, capture_output=True, text=True
        )
        found = [line for line in shown.stdout.splitlines() if "clsact" in line]
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.02)


def test_three_cycles_leave_descriptors_as_before(case: Case, stage: Stage) -> None:
    """Load, attach, close: each program is gone, and no descriptor is left."""
    cycle(case, stage)
    gc.collect()
    before = sorted(os.listdir("/proc/self/fd"))
    programs = [cycle(case, stage) for _ in range(3)]
    assert sorted(os.listdir("/proc/self/fd")) == before
    for number in programs:
        wait_until_gone("prog", number)


def cycle(case: Case, stage: Stage) -> int:
    with case.load(stage) as loaded:
        loaded.programs[case.program].attach(case.hook(stage))
        return loaded.programs[case.program].id


def test_hook_that_the_kernel_lacks_says_what_would_provide_it() -> None:
    """The other half of each skip: what is missing here raises NotSupportedError, at load or at attach."""
    for case in CASES:
        if not any(absent(feature) for feature in case.features):
            continue
        with case.stage() as stage, pytest.raises(NotSupportedError) as caught, case.load(stage) as loaded:
            loaded.programs[case.program].attach(case.hook(stage))
        assert caught.value.provides, case.name
