"""Iterators: everything, or one process, cgroup or map; each read a walk of its own."""

from __future__ import annotations

import os
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from kernel.evidence import absent
from kernel.hook_objects import (
    ITERATORS,
    Require,
    load,
)
from sonde.bpf import Object
from sonde.bpf.hooks import Iterator as IteratorHook
from sonde.bpf.hooks import (
    IteratorLink,
)
from sonde.errors import AttachError, NotSupportedError, SondeError


def walk(program: str, hook: IteratorHook, loaded: Object) -> bytes:
    with loaded.programs[program].attach(hook) as link:
        assert isinstance(link, IteratorLink)
        return link.read()


def numbers(data: bytes, code: str = "I") -> list[int]:
    return [number for (number,) in struct.iter_unpack(f"={code}", data)]


def own_threads() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc/self/task"))


def test_iterator_walks_over_every_task(require_feature: Require) -> None:
    require_feature("task_iterator")
    with load(ITERATORS, "tasks") as loaded:
        seen = numbers(walk("tasks", IteratorHook(), loaded))
    assert {2, os.getpid()} <= set(seen)  # 2 is kthreadd
    assert len(seen) == len(set(seen))


def test_iterator_over_one_process_gives_its_threads(require_feature: Require) -> None:
    require_feature("task_iterator_parameters")
    wake = threading.Event()
    threads = [threading.Thread(target=wake.wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    try:
        with load(ITERATORS, "tasks") as loaded:
            own, before, walked = own_threads(), [0], [0]
            # Of an earlier test a thread may only now end.
            while own != before:
                before, walked = own, sorted(numbers(walk("tasks", IteratorHook(pid=os.getpid()), loaded)))
                own = own_threads()
            assert walked == own
            newest = threads[-1].native_id
            assert newest is not None
            assert numbers(walk("tasks", IteratorHook(tid=newest), loaded)) == [newest]
    finally:
        wake.set()
        for thread in threads:
            thread.join()


def test_iterator_parameters_that_the_kernel_lacks_are_refused() -> None:
    """Never ignored: an older kernel would walk over all tasks."""
    with load(ITERATORS, "tasks") as loaded:
        program, hook = loaded.programs["tasks"], IteratorHook(pid=os.getpid())
        if absent("task_iterator_parameters"):
            with pytest.raises(NotSupportedError, match="parameters of this iterator"):
                program.attach(hook)
        else:
            program.attach(hook).close()


def test_iterator_over_a_map_gives_its_entries(require_feature: Require) -> None:
    require_feature("task_iterator")
    wanted = {3: 30, 5: 50, 7: 70}
    with load(ITERATORS, "entries") as loaded:
        entries = loaded.maps["numbers"]
        for key, value in wanted.items():
            entries[key] = value  # type: ignore[index]
        data = walk("entries", IteratorHook(map=entries), loaded)
        assert dict(struct.iter_unpack("=IQ", data)) == wanted
        with pytest.raises(AttachError, match="walks over a map"):
            loaded.programs["entries"].attach(IteratorHook())


def test_iterator_over_a_cgroup_gives_it_and_those_below(cgroup: Path, require_feature: Require) -> None:
    require_feature("cgroup_iterator")
    child = cgroup / "child"
    child.mkdir()
    try:
        own, below = cgroup.stat().st_ino, child.stat().st_ino
        with load(ITERATORS, "cgroups") as loaded:
            assert numbers(walk("cgroups", IteratorHook(cgroup=cgroup), loaded), "Q") == [own, below]
            assert numbers(walk("cgroups", IteratorHook(cgroup=cgroup, order="self"), loaded), "Q") == [own]
    finally:
        child.rmdir()


def test_iterator_says_that_a_process_is_gone(require_feature: Require) -> None:
    require_feature("task_iterator_parameters")
    gone = subprocess.Popen(["true"])
    gone.wait()
    with load(ITERATORS, "tasks") as loaded, pytest.raises(AttachError, match="there is no such process"):
        loaded.programs["tasks"].attach(IteratorHook(pid=gone.pid))


def test_each_read_of_an_iterator_is_a_walk_of_its_own(require_feature: Require) -> None:
    require_feature("task_iterator")
    with load(ITERATORS, "tasks") as loaded:
        link = loaded.programs["tasks"].attach(IteratorHook())
        assert isinstance(link, IteratorLink)
        child = subprocess.Popen(["sleep", "60"])
        try:
            assert child.pid in numbers(link.read())
        finally:
            child.kill()
            child.wait()
        assert child.pid not in numbers(link.read())
        link.close()
        with pytest.raises(SondeError, match="it is closed"):
            link.read()
