"""The table of arguments, beside what this kernel says of its own system calls."""

from __future__ import annotations

import os

import pytest

from generate_arguments import ENTRIES, from_tracefs
from sonde.enrich.syscall_arguments import parameters_of
from sonde.enrich.syscall_name import X32_BIT, syscall_names

pytestmark = pytest.mark.beside

FEWER = {"bpf": 3}
"""Calls that have got more, and how many they had: bpf in Linux 7."""


def test_every_call_has_as_many_arguments_as_this_kernel_says() -> None:
    """Names may change from one kernel to the next; how many there are hardly ever does."""
    told = from_tracefs()
    if not told:
        pytest.skip("the kernel's configuration: CONFIG_FTRACE_SYSCALLS is not set")

    wrong = {}
    compared = 0
    for number, name in syscall_names(os.uname().machine).items():
        declared, parameters = told.get(ENTRIES.get(name, name)), parameters_of(name)
        if number & X32_BIT or declared is None or parameters is None:
            continue
        compared += 1
        if len(declared) != len(parameters) and len(declared) != FEWER.get(name):
            wrong[name] = (declared, parameters)
    assert wrong == {}
    assert compared > 250
