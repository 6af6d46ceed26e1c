"""Owners: what the programs, maps and links that come from them must not outlive."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sonde._libbpf import lib
from sonde.errors import SondeError

if TYPE_CHECKING:
    from sonde.bpf.btf import Btf


class Owner:
    """Closes its children, newest first, and then what it holds itself; once, by ``close``.

    Maps, links and ring buffers keep a reference to it, and ask it for leave before they touch the kernel: after
    ``close`` they raise SondeError, where they would use memory or descriptors that are somebody else's by then.
    """

    __slots__ = ("_children", "_held", "_lock", "name")

    def __init__(self, held: Any, name: str) -> None:
        """Own ``held``, which ``_free`` gives back."""
        self._held = held
        self._children: dict[int, Any] = {}
        self._lock = threading.RLock()  # a collection inside may close a link
        self.name = name

    @property
    def closed(self) -> bool:
        """Tell whether it was closed."""
        return self._held is None

    def adopt(self, child: Any) -> None:
        """Close ``child`` (a link, a ring buffer) before what is held, unless it is closed by itself."""
        with self._lock:
            if self._held is not None:
                self._children[id(child)] = child
                return
        child.close()
        raise SondeError(f"use object {self.name}", why="it was closed meanwhile")

    def release(self, child: Any) -> None:
        """Forget a child that has closed itself."""
        with self._lock:
            self._children.pop(id(child), None)

    def children(self) -> list[Any]:
        """List what is open, oldest first."""
        with self._lock:
            return list(self._children.values())

    def close(self) -> None:
        """Close the children, newest first, then what is held; again and from several threads is fine."""
        with self._lock:
            held, self._held = self._held, None
        if held is None:
            return
        for child in reversed(self.children()):
            child.close()
        self._free(held)

    def _free(self, held: Any) -> None:
        raise NotImplementedError

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # Not ffi.gc: object, programs and links are a cycle, and libbpf's USDT links read the object when they are
        # destroyed.  This runs while all of the cycle is still whole.  At the interpreter's end modules are half
        # gone, and the kernel frees everything by itself.
        if not is_finalizing() and getattr(self, "_held", None):
            self.close()


class ObjectHandle(Owner):
    """A ``struct bpf_object *`` that is closed once, by ``close`` or by garbage collection."""

    __slots__ = ("_btf", "targets")

    def __init__(self, pointer: Any, name: str) -> None:
        super().__init__(pointer, name)
        self._btf: Btf | None = None
        self.targets: dict[str, str] = {}
        """Program → its attach target, where one was set before load."""

    @property
    def pointer(self) -> Any:
        """Give the ``struct bpf_object *``; raises SondeError when it is closed."""
        pointer = self._held
        if pointer is None:
            raise SondeError(f"use object {self.name}", why="it is closed")
        return pointer

    @property
    def btf(self) -> Btf | None:
        """Types of the object, read once; None where it was compiled without."""
        if self._btf is None:
            from sonde.bpf.btf import Btf

            self._btf = Btf.of_object(self)
        return self._btf

    def _free(self, held: Any) -> None:
        lib.bpf_object__close(held)
