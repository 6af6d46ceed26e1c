"""Objects with one program of tests/kernel/objects/links, loaded for a hook."""

from __future__ import annotations

import os
from collections.abc import Callable

from kernel.compiled import object_of
from kernel.hook_cases import Stage
from sonde.bpf import Link, Object, ObjectSpec
from sonde.bpf.hooks import Hook

HOOKS, COOKIES, SECTIONS, ITERATORS = (
    f"links/{name}.bpf.c" for name in ("hooks", "cookies", "sections", "iterators")
)
Require = Callable[[str], None]
COUNT = 17
MADV_NOHUGEPAGE = 15
STAGE = Stage()


def load(source: str, program: str, hook: Hook | None = None) -> Object:
    """Load one program of a source, for a hook; this process is the one that counts."""
    with ObjectSpec.open(object_of(source)) as spec:
        spec.programs[program].autoload = True
        if hook is not None:
            hook.configure(spec.programs[program])
        spec.knobs["target"].value = os.getpid()
        return spec.load()


def attach(source: str, program: str, hook: Hook) -> tuple[Object, Link]:
    loaded = load(source, program, hook)
    return loaded, loaded.programs[program].attach(hook)
