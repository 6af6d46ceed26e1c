"""Global variables of a BPF object: knobs, fixed before load, and variables, live while it runs."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sonde.bpf.btf import BtfType, DataSec, Var, is_volatile, resolve
from sonde.bpf.codec import Codec, codec_of
from sonde.errors import KnobError, LayoutError
from sonde.nearest import nearest

KNOB = "knob"
VARIABLE = "variable"


class Global:
    """One global variable in C: its ``value`` is typed and range-checked by BTF.

    ``noun`` is what messages call it, ``knob`` or ``variable``. Every access raises KnobError once its memory was
    closed, which whoever gave it does before the object goes.
    """

    def __init__(self, name: str, type: BtfType, memory: memoryview, *, noun: str = KNOB) -> None:
        """Look at the bytes of exactly one variable; ``memory`` is released by ``close``."""
        self.name = name
        self.type = type
        self.noun = noun
        self.size = memory.nbytes
        self.is_writable = not memory.readonly
        self._memory = memory
        self._codec: Codec | None = None

    @property
    def codec(self) -> Codec:
        """How its bytes become a value; made when it is first asked for. LayoutError where that cannot be."""
        if self._codec is None:
            self._codec = codec_of(self.type, self.size)
        return self._codec

    @property
    def valid(self) -> str:
        """What it takes, as people read it: ``u32 0..4294967295``."""
        return self.codec.valid

    @property
    def value(self) -> Any:
        """Its value now; setting one that it does not take raises KnobError."""
        codec = self.codec
        try:
            # A number is read in one piece, for the program may be writing it.
            item = (
                struct.unpack_from("@" + codec.code, self._memory)
                if _whole(codec)
                else (bytes(self._memory),)
            )
        except ValueError:
            raise self._closed("read") from None
        return codec.load(item[0]) if _whole(codec) else codec.decode(item[0])

    @value.setter
    def value(self, value: Any) -> None:
        codec = self.codec
        if not self.is_writable:
            raise KnobError(f"set {self.noun} {self.name}", why="it cannot be written", knob=self.name)
        try:
            data = codec.encode(value)
        except (ValueError, TypeError) as error:
            raise self._wrong(str(error)) from None
        self._write(codec, data)

    def read_bytes(self) -> bytes:
        """Copy its memory as it is, word for word: for large arrays, whose types NumPy reads."""
        try:
            return bytes(self._memory)
        except ValueError:
            raise self._closed("read") from None

    def set_text(self, text: str) -> None:
        """Set the value that a person typed, as after ``--set name=``; KnobError says what it takes.

        Integers are decimal or 0x…, an enumeration takes its names, an array values between commas.
        """
        try:
            value = self.codec.parse(text)
        except ValueError as error:
            raise self._wrong(str(error)) from None
        self.value = value

    def close(self) -> None:
        """Let go of the memory; again is fine."""
        self._memory.release()

    def _write(self, codec: Codec, data: bytes) -> None:
        try:
            if _whole(codec):
                # In one piece: a running program never sees half of a number.
                struct.pack_into("@" + codec.code, self._memory, 0, *struct.unpack("=" + codec.code, data))
            else:
                self._memory[:] = data
        except (ValueError, TypeError):  # TypeError is struct's word for memory that was released
            raise self._closed("set") from None

    def _wrong(self, why: str) -> KnobError:
        # A codec's message ends with what it takes; that is what to do.
        why, _, hint = why.rpartition(": ")
        return KnobError(f"set {self.noun} {self.name}", why=why, hint=hint, knob=self.name, valid=self.valid)

    def _closed(self, verb: str) -> KnobError:
        why = "its object is loaded or closed" if self.noun == KNOB else "its object is closed"
        return KnobError(f"{verb} {self.noun} {self.name}", why=why, knob=self.name)

    def __repr__(self) -> str:
        return f"<{self.noun} {self.name}: {resolve(self.type)}>"


class Globals(Mapping[str, Global]):
    """Global variables by name; an unknown name raises KnobError with the nearest ones."""

    def __init__(self, variables: Iterable[Global], *, noun: str = KNOB) -> None:
        """Collect variables; ``close`` closes them all."""
        self.noun = noun
        self._by_name = {each.name: each for each in variables}

    def __getitem__(self, name: str) -> Global:
        found = self._by_name.get(name)
        if found is None:
            raise self._unknown(name)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def get(self, name: str, default: Any = None) -> Any:
        """Give the variable, or the default where there is none."""
        return self._by_name.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def set_text(self, assignment: str) -> None:
        """Do what a person typed as ``NAME=VALUE``; KnobError says what is wrong with it."""
        name, equals, text = assignment.partition("=")
        if not equals:
            raise KnobError(f"set {self.noun} {assignment}", why="there is no =", hint="give NAME=VALUE")
        self[name.strip()].set_text(text)

    def close(self) -> None:
        """Close every variable."""
        for each in self._by_name.values():
            each.close()

    def _unknown(self, name: str) -> KnobError:
        near = nearest(name, self._by_name)
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        else:
            hint = f"there are {', '.join(self._by_name)}" if self._by_name else ""
        return KnobError(
            f"find {self.noun} {name}", why=f"the object has no such {self.noun}", hint=hint, knob=name
        )

    def __repr__(self) -> str:
        return f"<{len(self)} {self.noun}s: {', '.join(self)}>"


def globals_in(section: DataSec, memory: memoryview, *, noun: str) -> list[Global]:
    """Find the variables of a section whose bytes are ``memory``; of constants only the ``volatile`` ones.

    A plain ``const`` is no knob: the compiler has used its value already. LayoutError where one lies outside.
    """
    found = []
    for placed in section.variables:
        variable = placed.variable
        if not isinstance(variable, Var) or (noun == KNOB and not is_volatile(variable.target)):
            continue
        if placed.offset + placed.size > memory.nbytes:
            raise LayoutError(
                f"read {noun} {variable.name}",
                why=f"it lies outside of section {section.name}",
                hint="compile again",
            )
        window = memory[placed.offset : placed.offset + placed.size]
        found.append(Global(variable.name, variable.target, window, noun=noun))
    return found


def _whole(codec: Codec) -> bool:
    return len(codec.code) == 1
