"""Why an object could not be loaded, from the errno, libbpf's messages and the verifier's log."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sonde._libbpf.check import error_for
from sonde.errors import KernelError, NotSupportedError, VerifierError

if TYPE_CHECKING:
    from sonde.bpf.map.spec import MapSpec
    from sonde.bpf.object import ObjectSpec
    from sonde.bpf.program import ProgramSpec

FEATURES = {
    "trace_raw_tp": "tp_btf",
    "trace_fentry": "fentry",
    "trace_fexit": "fentry",
    "modify_return": "fmod_ret",
    "trace_iter": "task_iterator",
    "lsm_mac": "lsm",
}
"""Attach types that a kernel may refuse to load for → the feature that it then lacks."""


def _missing_feature(result: int, program: ProgramSpec | None) -> NotSupportedError | None:
    """Tell a kernel that loads no program of this kind, however small, from one that refuses this program."""
    from sonde.bpf import features

    name = FEATURES.get(program.expected_attach_type) if program is not None else None
    if program is None or name is None or (support := features.have(name)).value is not False:
        return None
    return NotSupportedError(
        name,
        errno=-result,
        operation="load program",
        subject=f"{program.name} (SEC({program.section!r}))",
        why=support.reason,
        provides=support.provides,
    )


_MAP = re.compile(r"map '(?P<name>[^']+)': failed to create")
_TARGET = re.compile(r"prog '(?P<program>[^']+)': failed to find kernel BTF type ID of '(?P<name>[^']+)'")
_ATTEMPTS = ("RLIMIT_MEMLOCK", "Retrying without BTF")
"""What stands in messages of libbpf about something that it then did in another way."""

_SIZED_BY_LOADERS = ("stack_trace",)
"""Kinds of map whose values are as long as their loader says: how deep a stack may be."""


def load_error(result: int, spec: ObjectSpec, messages: Sequence[str], text: str | None) -> KernelError:
    """Say why libbpf could not load an object; ``text`` is the verifier's log, None where there is none."""
    from sonde.bpf import capabilities, verifier

    if missing := _missing_feature(result, spec.programs.get(verifier.failed_program(messages) or "")):
        return missing
    if text is not None and -result not in (errno.EPERM, errno.ENOMEM):
        told = verifier.explain(text)
        return VerifierError(
            -result,
            subject=verifier.failed_program(messages) or spec.name,
            log=text,
            reason=told.reason,
            source_line=told.source_line,
            instruction=told.instruction,
            hint=told.hint,
        )
    if -result == errno.EPERM:
        # Who may not load a program of two instructions is told which capabilities are missing.
        capabilities.require(operation=f"load object {spec.name}")
    complaints = [message for message in messages if not any(word in message for word in _ATTEMPTS)]
    why = complaints[0].removeprefix("libbpf: ") if complaints else ""
    hint = ""
    if (found := _MAP.search(why)) and found["name"] in spec.maps:
        why, hint = _about_map(spec.maps[found["name"]], why)
    elif found := _TARGET.search(why):
        why = f"program {found['program']} is for {found['name']}, and this kernel's BTF has nothing of that name"
        hint = f"leave it out: spec.programs[{found['program']!r}].autoload = False"
    elif "is not on BPF FS" in why:
        hint = "mount one: mount -t bpf bpf /sys/fs/bpf"
    return error_for(result, "load object", spec.name, why=why, hint=hint)


def _about_map(map: MapSpec, why: str) -> tuple[str, str]:
    """Say what a map lacks that other people's loaders set; else what libbpf said."""
    for attribute, value in (("value_size", map.value_size), ("max_entries", map.max_entries)):
        # Bloom filters, rings and others have no values at all.
        if value == 0 and (attribute == "max_entries" or map.type in _SIZED_BY_LOADERS):
            return (
                f"map {map.name} ({map.type}) has {attribute} 0: its loader has to set it",
                f"in Python spec.maps[{map.name!r}].{attribute} = …, with sonde load --set {map.name}.{attribute}=…",
            )
    return why, ""
