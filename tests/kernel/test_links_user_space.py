"""Uprobes and USDT: places in files, one process or all, and what is said of those that are not there."""

from __future__ import annotations

import os

import pytest

from kernel import places
from kernel.compiled import object_of, program_of
from kernel.evidence import absent
from kernel.hook_cases import getppid, libc_path
from kernel.hook_objects import (
    COUNT,
    HOOKS,
    STAGE,
    Require,
    attach,
    load,
)
from sonde.bpf import ObjectSpec
from sonde.bpf.hooks import (
    Uprobe,
    UprobeMulti,
    Usdt,
)
from sonde.bpf.link.elf import function_offsets
from sonde.errors import AttachError, NotSupportedError


def test_uprobe_by_offset_is_the_uprobe_by_name(require_feature: Require) -> None:
    require_feature("uprobe")
    offset = function_offsets(libc_path(), ["getppid"])["getppid"]
    loaded, link = attach(HOOKS, "at_uprobe", Uprobe(libc_path(), offset=offset))
    with loaded:
        getppid(STAGE, link, COUNT)
        assert loaded.variables["runs"].value == COUNT


def test_uprobe_with_a_pid_leaves_other_processes_alone(require_feature: Require) -> None:
    require_feature("uprobe")
    marked = str(program_of("links/marked.c"))
    with ObjectSpec.open(object_of(HOOKS)) as spec:
        spec.programs["at_uprobe"].autoload = True
        loaded = spec.load()  # target 0: whoever comes counts
    with loaded, places.worker([marked]) as one, places.worker([marked]) as other:
        loaded.programs["at_uprobe"].attach(Uprobe(marked, "marked_function", pid=one.pid))
        for worker in (one, other):
            places.ask(worker, COUNT)
        assert loaded.variables["runs"].value == COUNT


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (Uprobe("/no/such/file", "main"), "there is no such file: give its whole path"),
        (Uprobe("nosuchlibrary.so.7", "main"), "there is no such file: give its whole path"),
        (Uprobe("libc.so.6", "getpppid"), "has no function getpppid: the nearest are getppid"),
        (Uprobe("libc.so.6", "getppid", pid=2**22 + 1), "there is no such process"),
    ],
)
def test_uprobe_says_what_is_not_there(hook: Uprobe, said: str, require_feature: Require) -> None:
    require_feature("uprobe")
    with load(HOOKS, "at_uprobe") as loaded, pytest.raises(AttachError) as caught:
        loaded.programs["at_uprobe"].attach(hook)
    assert said in str(caught.value)


def test_uprobe_multi_names_the_function_that_is_not_there(require_feature: Require) -> None:
    require_feature("uprobe_multi")
    with (
        load(HOOKS, "at_uprobe_multi") as loaded,
        pytest.raises(AttachError, match="has no function getpppid"),
    ):
        loaded.programs["at_uprobe_multi"].attach(UprobeMulti("libc.so.6", ("getppid", "getpppid")))


def test_usdt_gives_arguments_and_cookie(require_feature: Require) -> None:
    require_feature("usdt")
    marked = str(program_of("links/marked.c"))
    with places.worker([marked]) as worker, ObjectSpec.open(object_of("links/usdt.bpf.c")) as spec:
        spec.programs["at_usdt"].autoload = True
        spec.knobs["target"].value = worker.pid
        with spec.load() as loaded:
            loaded.programs["at_usdt"].attach(Usdt(marked, "sonde", "called", pid=worker.pid, cookie=29))
            places.ask(worker, COUNT)
            values = {name: loaded.variables[name].value for name in ("runs", "total", "cookie")}
    assert values == {"runs": COUNT, "total": COUNT * (COUNT + 1) // 2, "cookie": 29}


def test_usdt_semaphore_is_up_while_attached(require_feature: Require) -> None:
    """A program works for a probe with a semaphore only while somebody listens."""
    require_feature("usdt")
    marked = str(program_of("links/marked.c"))
    with places.worker([marked]) as worker, load("links/usdt.bpf.c", "at_usdt") as loaded:
        assert places.ask(worker, COUNT) == "0"
        with loaded.programs["at_usdt"].attach(Usdt(marked, "sonde", "wanted", pid=worker.pid)):
            assert places.ask(worker, COUNT) == str(COUNT)
        assert places.ask(worker, COUNT) == "0"


def test_usdt_that_is_not_there_lists_those_that_are(require_feature: Require) -> None:
    require_feature("usdt")
    marked = str(program_of("links/marked.c"))
    with load("links/usdt.bpf.c", "at_usdt") as loaded, pytest.raises(AttachError) as caught:
        loaded.programs["at_usdt"].attach(Usdt(marked, "sonde", "kalled", pid=os.getpid()))
    assert "has no USDT probe sonde:kalled: it has sonde:called, sonde:wanted" in str(caught.value)


def test_usdt_everywhere_works_or_asks_for_a_pid(require_feature: Require) -> None:
    """Without cookies (Linux 5.15) a probe is known by its address, which each process has its own of."""
    require_feature("usdt")
    marked = str(program_of("links/marked.c"))
    with places.worker([marked]) as worker, ObjectSpec.open(object_of("links/usdt.bpf.c")) as spec:
        spec.programs["at_usdt"].autoload = True
        with spec.load() as loaded:
            program, hook = loaded.programs["at_usdt"], Usdt(marked, "sonde", "called")
            if absent("cookie"):
                with pytest.raises(NotSupportedError, match="give a pid"):
                    program.attach(hook)
                return
            program.attach(hook)
            places.ask(worker, COUNT)
            assert loaded.variables["runs"].value == COUNT
