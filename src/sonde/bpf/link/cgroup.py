"""Control groups: sockets, addresses, packets and settings of the processes in one."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from sonde._libbpf import lib
from sonde.bpf.link.attachment import KernelLink, create_link, failure, require_feature
from sonde.bpf.link.hook import Hook, join_options, needs, split_options
from sonde.bpf.link.link import Link
from sonde.bpf.program import attach_types
from sonde.errors import AttachError

if TYPE_CHECKING:
    from sonde.bpf.program import Program, ProgramSpec

CAPABILITY = "CAP_NET_ADMIN CAP_BPF"


@dataclass(frozen=True, slots=True)
class Cgroup(Hook):
    """Attach to a directory of cgroup version 2, and so to all below it. Linux 5.7.

    ``attach_type`` (``cgroup_inet_egress``, as libbpf names them) is the program's own unless given; ``configure``
    sets it before the program is loaded. Several programs may be attached to one cgroup.
    """

    kinds: ClassVar = {"cgroup": "cgroup:/sys/fs/cgroup/system.slice"}

    path: str | os.PathLike[str]
    attach_type: str | None = None

    def attach(self, program: Program) -> Link:
        number = self._attach_type(program)
        try:
            directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._refuse(program, os.strerror(error.errno or 0).lower()) from None
        try:
            result = create_link(program, directory, number)
        finally:
            os.close(directory)
        if result >= 0:
            return Link(program, self, KernelLink(result))
        if result == -errno.EBADF:
            raise self._refuse(program, "it is no directory of cgroup version 2")
        require_feature("cgroup", program, self)
        if result == -errno.EINVAL:
            name = next(name for name, each in attach_types().items() if each == number)
            raise self._refuse(program, f"a {program.type} program cannot be attached to a cgroup as {name}")
        raise failure(program, self, result, capability=CAPABILITY)

    def configure(self, spec: ProgramSpec) -> None:
        if self.attach_type is not None:
            spec.expected_attach_type = self.attach_type

    def _attach_type(self, program: Program) -> int:
        if self.attach_type is None:
            return int(lib.bpf_program__expected_attach_type(program.pointer))
        types = attach_types()
        if self.attach_type in types:
            return types[self.attach_type]
        valid = ", ".join(name for name in types if name.startswith("cgroup"))
        what, why = f"attach program {program.name} to {self}", f"there is no attach type {self.attach_type}"
        raise AttachError(what, why=why, hint=f"valid: {valid}", program=program.name, hook=str(self))

    def _refuse(self, program: Program, why: str) -> AttachError:
        roots = ", ".join(cgroup_roots()) or "mounted nowhere: mount -t cgroup2 none /sys/fs/cgroup"
        return AttachError(
            f"attach program {program.name} to {self}",
            why=why,
            hint=f"cgroup version 2 is {roots}",
            program=program.name,
            hook=str(self),
        )

    def __str__(self) -> str:
        return join_options(f"cgroup:{os.fspath(self.path)}", type=self.attach_type)

    @classmethod
    def parse(cls, text: str, *, kind: str = "cgroup") -> Self:
        path, options = split_options(text, kind, "type")
        if not path:
            raise needs(kind, "a directory of cgroup version 2", cls.kinds["cgroup"])
        return cls(path, options.get("type"))


def cgroup_roots() -> list[str]:
    """Where cgroup version 2 is mounted."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [fields[1] for fields in map(str.split, lines) if fields[2] == "cgroup2"]
