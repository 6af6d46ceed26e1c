"""The seam of this folder: a hook, a place where a program attaches, as a value that can be written and read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from sonde.errors import AttachError, SondeError

if TYPE_CHECKING:
    from sonde.bpf.link.link import Link
    from sonde.bpf.program import Program, ProgramSpec


class Hook(Protocol):
    """A place where a program attaches; one file each in this folder, a frozen dataclass."""

    __slots__ = ()

    kinds: ClassVar[Mapping[str, str]]
    """Names that begin its text, each with an example: ``{"kprobe": "kprobe:do_sys_openat2"}``."""

    def attach(self, program: Program) -> Link:
        """Attach; raises NotSupportedError where this kernel has no such hook, AttachError where it has no such place."""
        ...

    def configure(self, spec: ProgramSpec) -> None:
        """Make a program of an opened object fit this place before it is loaded; most need nothing."""
        return

    def __str__(self) -> str: ...

    @classmethod
    def parse(cls, text: str, *, kind: str = "") -> Self:
        """Read what ``str`` writes, without the name and the colon in front; ``kind`` is that name."""
        ...


def require_type(program: Program, hook: Hook, *types: str) -> None:
    """Refuse a program that this hook cannot take, in words that the kernel's EINVAL does not have."""
    if program.type not in types:
        raise AttachError(
            f"attach program {program.name} to {hook}",
            why=f"it is a {program.type} program, the hook takes {' or '.join(types)}",
            hint="its SEC() in C decides its type",
            program=program.name,
            hook=str(hook),
        )


def wrong_section(spec: ProgramSpec, *sections: str) -> SondeError:
    """Say that a program was compiled for another kind of hook, which cannot be changed before load."""
    return SondeError(
        f"load program {spec.name} for {sections[0]}",
        why=f"its section is {spec.section}",
        hint=f"compile it with {' or '.join(f'SEC({name!r})' for name in sections)}".replace("'", '"'),
    )


_OPTION = re.compile(r"(.*),\s*(\w+)=([^,=]*)", re.DOTALL)


def split_options(text: str, kind: str, *keys: str) -> tuple[str, dict[str, str]]:
    """Take ``,key=value`` pairs off the end of a hook's text; raises AttachError for a key that is not one."""
    options: dict[str, str] = {}
    while found := _OPTION.fullmatch(text):
        text, key, value = found.groups()
        if key not in keys:
            valid = f"valid: {', '.join(f'{name}=' for name in keys)}" if keys else "it takes none"
            raise AttachError(f"read hook {kind}", why=f"there is no option {key}=", hint=valid)
        options[key] = value.strip()
    return text.strip(), options


def join_options(text: str, **options: object) -> str:
    """Write what ``split_options`` reads; what is None, zero or empty is left out."""
    return text + "".join(f",{key}={value}" for key, value in options.items() if value)


def integer(text: str, what: str) -> int:
    """Read a decimal or 0x… number; raises AttachError."""
    try:
        return int(text, 0)
    except ValueError:
        raise AttachError("read hook", why=f"{what} is a number, not {text!r}") from None


def optional_integer(options: Mapping[str, str], key: str) -> int | None:
    """Give an option's number, None where it is not there."""
    return integer(options[key], key) if key in options else None


def needs(kind: str, what: str, example: str) -> AttachError:
    """Say that a hook's text lacks its place."""
    return AttachError("read hook", why=f"{kind} needs {what}", hint=f"for example {example}")
