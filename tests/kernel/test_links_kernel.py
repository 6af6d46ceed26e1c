"""Tracepoints and kernel functions: how they are found, and what is said of those that are not there."""

from __future__ import annotations

import pytest

from kernel.hook_cases import GETPPID, getpgid, getppid
from kernel.hook_objects import (
    COUNT,
    HOOKS,
    STAGE,
    Require,
    attach,
    load,
)
from sonde.bpf.hooks import (
    Kprobe,
    KprobeMulti,
    RawTracepoint,
    Tracepoint,
)
from sonde.errors import AttachError, SondeError


def test_tracepoint_is_found_without_its_group() -> None:
    loaded, link = attach(HOOKS, "at_tracepoint", Tracepoint("sys_enter_getppid"))
    with loaded:
        getppid(STAGE, link, COUNT)
        assert loaded.variables["runs"].value == COUNT


def test_raw_tracepoint_that_is_not_there_is_named() -> None:
    with load(HOOKS, "at_raw_tp") as loaded, pytest.raises(AttachError, match="no such tracepoint"):
        loaded.programs["at_raw_tp"].attach(RawTracepoint("task/task_rename"))


def test_kprobe_names_the_nearest_functions(require_feature: Require) -> None:
    require_feature("kprobe")
    with load(HOOKS, "at_kprobe") as loaded, pytest.raises(AttachError, match=GETPPID):
        loaded.programs["at_kprobe"].attach(Kprobe(f"{GETPPID}x"))


def test_kprobe_at_an_offset_counts(require_feature: Require) -> None:
    """Behind the function's first instruction; which one that is, only a small search tells."""
    require_feature("kprobe")
    with load(HOOKS, "at_kprobe") as loaded:
        for offset in range(1, 24):
            try:
                link = loaded.programs["at_kprobe"].attach(Kprobe(GETPPID, offset))
            except (SondeError, OSError):
                continue  # in the middle of an instruction
            getppid(STAGE, link, COUNT)
            assert loaded.variables["runs"].value == COUNT
            return
    pytest.fail("no offset was accepted")


def test_kprobe_multi_names_what_does_not_match(require_feature: Require) -> None:
    require_feature("kprobe_multi")
    with load(HOOKS, "at_kprobe_multi") as loaded:
        program = loaded.programs["at_kprobe_multi"]
        with pytest.raises(AttachError, match="no traceable function of this kernel matches"):
            program.attach(KprobeMulti("no_such_function_*"))
        with pytest.raises(AttachError, match="has no function no_such_function that"):
            program.attach(KprobeMulti((GETPPID, "no_such_function")))


def test_kprobe_multi_attaches_to_all_that_match(require_feature: Require) -> None:
    require_feature("kprobe_multi")
    hook = KprobeMulti((GETPPID, "security_task_getpgid"))
    loaded, link = attach(HOOKS, "at_kprobe_multi", hook)
    with loaded:
        getppid(STAGE, link, COUNT)
        getpgid(STAGE, link, COUNT)
        assert loaded.variables["runs"].value == 2 * COUNT
