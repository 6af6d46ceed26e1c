"""Names of the running kernel's enumerations: numbers change from one version to the next, so its BTF tells them."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from sonde.bpf.btf import Btf, Enum
from sonde.errors import SondeError


@functools.cache
def kernel_enum(name: str, module: str | None = None) -> Mapping[int, str]:
    """Give number → name of ``enum NAME``, in the order of declaration; empty where the kernel, or its module, has none.

    Reading the kernel's BTF takes 0.3 s, and a module's is on top of it: each answer is kept.
    """
    try:
        found = Btf.kernel(module).find(name, Enum)
    except SondeError:
        return {}
    return {} if found is None else {number: word for word, number in reversed(found.values)}
