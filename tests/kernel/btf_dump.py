"""The kernel's types as bpftool tells them: an oracle that shares no code with sonde."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ANONYMOUS = "(anon)"
ALIASES = {"TYPEDEF", "CONST", "VOLATILE", "RESTRICT", "TYPE_TAG", "VAR"}
KIND_NAMES = {
    "void": "VOID", "int": "INT", "pointer": "PTR", "array": "ARRAY", "struct": "STRUCT", "union": "UNION",
    "forward declaration": "FWD", "typedef": "TYPEDEF", "volatile": "VOLATILE", "const": "CONST",
    "restrict": "RESTRICT", "function": "FUNC", "function type": "FUNC_PROTO", "variable": "VAR",
    "section": "DATASEC", "float": "FLOAT", "declaration tag": "DECL_TAG", "type tag": "TYPE_TAG",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A member as C code names it: where it is, how long, and whether it has a sign."""

    name: str
    bit_offset: int
    bit_size: int
    size: int
    signed: bool


class Dump:
    """``bpftool btf dump`` as JSON; its own small resolver for sizes, signs and anonymous members.

    The output is cut where types begin and read type by type: whole, it takes an emulated processor minutes.
    """

    def __init__(self, path: str) -> None:
        """Run bpftool on a file of BTF; CalledProcessError where it cannot read it."""
        command = [
            shutil.which("bpftool") or "bpftool",
            "--json",
            "btf",
            "dump",
            "file",
            path,
            "format",
            "raw",
        ]
        output = subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout
        # Only types begin with an id, and bpftool writes them in its order, from 1.
        self._texts = output.split(b'{"id":')
        self._types: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._texts) - 1

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, len(self._texts)))

    def __getitem__(self, id: int) -> dict[str, Any]:
        if id not in self._types:
            # What is behind the type, a comma or the end of the list, is not read.
            found, _ = json.JSONDecoder().raw_decode('{"id":' + self._texts[id].decode())
            assert found["id"] == id
            self._types[id] = found
        return self._types[id]

    def bare(self, id: int) -> dict[str, Any]:
        """Follow typedefs and qualifiers."""
        found = self[id]
        while found["kind"] in ALIASES:
            found = self[found["type_id"]]
        return found

    def size(self, id: int) -> int:
        """Size in bytes."""
        found = self.bare(id)
        if found["kind"] == "PTR":
            return 8
        if found["kind"] == "ARRAY":
            return int(found["nr_elems"] * self.size(found["type_id"]))
        return int(found["size"])

    def signed(self, id: int) -> bool:
        """Tell whether a number, or the numbers in an array, have a sign."""
        found = self.bare(id)
        if found["kind"] == "ARRAY":
            return self.signed(found["type_id"])
        return found.get("encoding") == "SIGNED"

    def places(self, struct: dict[str, Any], base: int = 0) -> Iterator[Place]:
        """Give the members of a struct, those of anonymous structs as its own; anonymous unions by offset."""
        for member in struct["members"]:
            id, at = member["type_id"], base + member["bits_offset"]
            found = self.bare(id)
            bits = member.get("bitfield_size", 0)
            if not bits and found["kind"] == "INT" and found["nr_bits"] != 8 * found["size"]:
                bits, at = found["nr_bits"], at + found["bits_offset"]
            if member["name"] != ANONYMOUS:
                size = (at % 8 + bits + 7) // 8 if bits else self.size(id)
                yield Place(member["name"], at, bits, size, self.signed(id))
            elif found["kind"] == "UNION":
                yield Place(f"union_{at // 8}", at, 0, self.size(id), signed=False)
            elif found["kind"] == "STRUCT":
                yield from self.places(found, at)
