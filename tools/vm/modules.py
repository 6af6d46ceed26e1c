"""Kernel modules out of an unpacked package: what each needs, in the order of loading, decompressed."""

from __future__ import annotations

import lzma
import re
from pathlib import Path

from vm.errors import HostError

# Lines of a module's .modinfo section are NUL-terminated; `depends=` is always there, empty where nothing is needed.
DEPENDS = re.compile(rb"depends=([A-Za-z0-9_,-]*)\0")


class ModuleTree:
    """The modules of one kernel package, found by name.

    Some kernels have built in what is a module in others: asking for such a module gives nothing, asking for one that
    the kernel has in neither form raises HostError.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths = {name_of(path): path for path in folder.rglob("*.ko*")}
        builtin = (folder / "modules.builtin").read_text().splitlines()
        self._builtin = {name_of(Path(line)) for line in builtin}

    def read(self, name: str) -> bytes:
        """A module's ELF file, decompressed."""
        path = self._paths[name]
        data = path.read_bytes()
        return lzma.decompress(data) if path.suffix == ".xz" else data

    def relative(self, name: str) -> Path:
        """Where a module lies below its folder, without the ending of a compressed one."""
        path = self._paths[name].relative_to(self._folder)
        return path.with_name(path.name.split(".ko")[0] + ".ko")

    def closure(self, names: tuple[str, ...]) -> list[str]:
        """The modules of these names and all that they need, each after what it needs."""
        order: list[str] = []
        for name in names:
            self._visit(name, order)
        return order

    def _visit(self, name: str, order: list[str]) -> None:
        if name in order or name in self._builtin:
            return
        if name not in self._paths:
            raise HostError(f"no module {name} in {self._folder.name}: the package changed: see vm/kernel.py")
        found = DEPENDS.search(self.read(name))
        for need in found[1].decode().split(",") if found else []:
            if need:
                self._visit(need.replace("-", "_"), order)
        order.append(name)


def name_of(path: Path) -> str:
    """A module's name: its file's, with the underscores that the kernel uses."""
    return path.name.split(".ko")[0].replace("-", "_")
