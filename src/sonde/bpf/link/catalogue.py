"""All hooks by the names that begin their texts: ``kprobe:do_sys_openat2`` to a Kprobe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import cast

from sonde.bpf.link.hook import Hook
from sonde.errors import AttachError


@cache
def hook_kinds() -> Mapping[str, type[Hook]]:
    """Each name that a hook's text may begin with, and the hook's class; every file of this folder is asked."""
    return {kind: hook for hook in _hooks() for kind in hook.kinds}


def _hooks() -> Iterator[type[Hook]]:
    folder = __name__.rpartition(".")[0]
    for module in iter_modules(import_module(folder).__path__, f"{folder}."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, type) and value.__module__ == module.name and "kinds" in vars(value):
                yield cast("type[Hook]", value)


def hook_examples() -> dict[str, str]:
    """Each name with an example of a whole text, for help and errors."""
    return {kind: hook.kinds[kind] for kind, hook in sorted(hook_kinds().items())}


def hook_from_text(text: str) -> Hook:
    """Read a hook: its kind, a colon (or a slash, as in SEC()), its place, and options as ``,key=value``.

    Raises AttachError with an example of every kind where it is none of them.
    """
    kind, place = _split(text.strip())
    # Sleepable programs: the hook is the same.
    kind = kind.removesuffix(".s")
    hook = hook_kinds().get(kind)
    if hook is None:
        examples = "\n".join(f"  {example}" for example in hook_examples().values())
        raise AttachError(
            f"read hook {text!r}", why=f"there is no kind of hook {kind!r}", hint=f"examples:\n{examples}"
        )
    return hook.parse(place, kind=kind)


def _split(text: str) -> tuple[str, str]:
    """Before and after the first colon or slash."""
    at = min((at for sign in ":/" if (at := text.find(sign)) >= 0), default=len(text))
    return text[:at], text[at + 1 :]
