"""What holds a program in its place, and lets it go: a link of the kernel's, one of libbpf's, or several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sonde._libbpf import ffi, lib, log
from sonde._libbpf.check import error_for
from sonde.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sonde.bpf.link.hook import Hook
    from sonde.bpf.program import Program

CAPABILITY = "CAP_BPF CAP_PERFMON"


class Attachment(Protocol):
    """One attached program; ``detach`` is called once."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Descriptors that keep it attached; none where libbpf or a guardian holds them."""
        ...

    def detach(self) -> None:
        """Let go; raises KernelError where the program may still be attached."""
        ...


class KernelLink:
    """A descriptor from BPF_LINK_CREATE: closing it detaches, and so does the end of the process."""

    __slots__ = ("descriptors",)

    def __init__(self, descriptor: int) -> None:
        self.descriptors: tuple[int, ...] = (descriptor,)

    def detach(self) -> None:
        os.close(self.descriptors[0])


class LibbpfLink:
    """A ``struct bpf_link *``, where libbpf has more to take back than one descriptor."""

    __slots__ = ("_pointer", "descriptors")

    def __init__(self, pointer: Any, *, has_descriptor: bool = True) -> None:
        self._pointer = pointer
        self.descriptors: tuple[int, ...] = (int(lib.bpf_link__fd(pointer)),) if has_descriptor else ()

    def detach(self) -> None:
        lib.bpf_link__destroy(self._pointer)


class Several:
    """Attachments of one program that go together: a perf event on each CPU."""

    __slots__ = ("_parts", "descriptors")

    def __init__(self, parts: Sequence[Attachment]) -> None:
        self._parts = parts
        self.descriptors: tuple[int, ...] = tuple(fd for part in parts for fd in part.descriptors)

    def detach(self) -> None:
        for part in self._parts:
            part.detach()


def failure(
    program: Program, hook: Hook, number: int, *, why: str = "", hint: str = "", capability: str = CAPABILITY
) -> KernelError:
    """Say that the kernel, or libbpf, has refused to attach."""
    subject = f"{program.name} to {hook}"
    return error_for(number, "attach program", subject, why=why, hint=hint, capability=capability)


def attach_by_libbpf(program: Program, hook: Hook, call: Callable[[], Any], **more: bool) -> LibbpfLink:
    """Attach by a function of libbpf's that gives a link or NULL; what it says about ELF files becomes the reason."""
    with log.capture() as messages:
        pointer = call()
        number = ffi.errno
    if pointer:
        return LibbpfLink(pointer, **more)
    said = [text.removeprefix("libbpf: ") for text in messages]
    why = next((text for text in said if text.startswith(("elf: ", "usdt: "))), "")
    raise failure(program, hook, number, why=why.partition(": ")[2])


def create_link(program: Program, target: int, attach_type: int, *, flags: int = 0, cookie: int = 0) -> int:
    """BPF_LINK_CREATE: the new descriptor, or a negative errno; for callers that know what an errno means."""
    options = ffi.new("struct bpf_link_create_opts *")
    options.sz = ffi.sizeof("struct bpf_link_create_opts")
    options.flags = flags
    # Two members of one union: zero where the other is meant.
    options.perf_event.bpf_cookie = cookie
    return int(lib.bpf_link_create(program.fd, target, attach_type, options))


def require_feature(name: str, program: Program, hook: Hook) -> None:
    """Raise NotSupportedError, which says what would provide it, where trying shows that the kernel lacks a feature.

    For error paths: it takes the place of an EINVAL that could mean anything.
    """
    from sonde.bpf import features

    features.require(name, operation="attach program", subject=f"{program.name} to {hook}")
