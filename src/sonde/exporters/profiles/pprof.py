"""pprof's profile.proto, gzipped: what ``go tool pprof``, Pyroscope, Parca and cloud profilers read.

The messages and their numbers: https://github.com/google/pprof/blob/main/proto/profile.proto. Nine small messages of a format
that cannot change; the tests read them with ``go tool pprof``.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Sequence

from sonde.exporters.varint import varint
from sonde.records.accounting import Accounting
from sonde.records.frames import INLINED, NATIVE
from sonde.records.profile import Function, Measured, Profile, Stack

# Profile
_SAMPLE_TYPE, _SAMPLE, _MAPPING, _LOCATION, _FUNCTION, _STRING = 1, 2, 3, 4, 5, 6
_TIME_NS, _DURATION_NS, _PERIOD_TYPE, _PERIOD, _COMMENT, _DEFAULT_SAMPLE_TYPE = 9, 10, 11, 12, 13, 14


def pprof(profile: Profile) -> bytes:
    """Write samples and CPU time; of a time how often something blocked, and for how long."""
    strings = _Strings()
    symbols = _Symbols(profile, strings)
    types = _types(profile.measured)
    samples = [_sample(profile.measured, stack, symbols, strings) for stack in profile.stacks]
    parts = [_message(_SAMPLE_TYPE, _value_type(strings, *each)) for each in types]
    parts += [_message(_SAMPLE, each) for each in samples]
    parts += [_message(_MAPPING, each) for each in symbols.mappings()]
    parts += [_message(_LOCATION, each) for each in symbols.locations]
    parts += [_message(_FUNCTION, each) for each in symbols.functions()]
    parts += _around(profile, strings, types)
    # Last, when all are known.
    parts += [_message(_STRING, each.encode(errors="replace")) for each in strings]
    return gzip.compress(b"".join(parts), compresslevel=6, mtime=0)


def _types(measured: Measured) -> list[tuple[str, str]]:
    if measured.is_time:
        return [("contentions", "count"), ("delay", "nanoseconds")]
    return [("samples", "count"), *([("cpu", "nanoseconds")] if measured.frequency_hz else [])]


def _around(profile: Profile, strings: _Strings, types: Sequence[tuple[str, str]]) -> list[bytes]:
    measured = profile.measured
    last, unit = types[-1]
    parts = [
        _number(_TIME_NS, measured.began_ns),
        _number(_DURATION_NS, measured.duration_ns),
        _message(_PERIOD_TYPE, _value_type(strings, last, unit)),
        _number(_PERIOD, 1 if measured.is_time else measured.time_ns(1)),
        _number(_DEFAULT_SAMPLE_TYPE, strings[last]),
    ]
    comments = [measured.heading]
    if measured.accounting != Accounting():
        comments.append(str(measured.accounting))
    comments += [f"{each.mark} {each.module}: {each.weight} {measured.unit}" for each in profile.broken]
    parts.append(_packed(_COMMENT, [strings[text] for text in comments if text]))
    return parts


def _sample(measured: Measured, stack: Stack, symbols: _Symbols, strings: _Strings) -> bytes:
    if measured.is_time:
        values = [stack.count, stack.weight]
    else:
        values = [stack.weight, *([measured.time_ns(stack.weight)] if measured.frequency_hz else [])]
    labels = [_number(1, strings["thread"]) + _number(2, strings[stack.comm])]
    if stack.pid is not None:
        labels.append(_number(1, strings["pid"]) + _number(3, stack.pid))
    labels += [_number(1, strings[name]) + _number(2, strings[value]) for name, value in stack.labels]
    return (
        _packed(1, symbols.locations_of(stack.frames))
        + _packed(2, values)
        + b"".join(_message(3, label) for label in labels)
    )


def _value_type(strings: _Strings, type_: str, unit: str) -> bytes:
    return _number(1, strings[type_]) + _number(2, strings[unit])


class _Strings(dict[str, int]):
    """The table of strings: their numbers in the order in which they came; 0 is none."""

    def __init__(self) -> None:
        super().__init__({"": 0})

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self)
        return number


class _Symbols:
    """Mappings (binaries), functions, and locations: an address with the functions that were inlined there."""

    def __init__(self, profile: Profile, strings: _Strings) -> None:
        self._profile, self._strings = profile, strings
        self._modules = {name: at for at, name in enumerate(_modules(profile.functions.values()), 1)}
        self._known: dict[tuple[int, ...], int] = {}
        self.locations: list[bytes] = []

    def locations_of(self, frames: Sequence[int]) -> list[int]:
        """Give the locations of a stack, the innermost first."""
        found: list[int] = []
        group: list[int] = []
        for frame in reversed(frames):
            group.append(frame)
            if self._profile.frames[frame].kind != INLINED:
                found.append(self._location(tuple(group)))
                group = []
        if group:
            found.append(self._location(tuple(group)))
        return found

    def _location(self, frames: tuple[int, ...]) -> int:
        """Number the place of one address; the last of its frames is that which the others were inlined into."""
        number = self._known.get(frames)
        if number is None:
            number = self._known[frames] = len(self._known) + 1
            outer = self._profile.frames[frames[-1]]
            lines = b"".join(_message(4, self._line(frame)) for frame in frames)
            self.locations.append(_number(1, number) + _number(2, self._modules.get(outer.module, 0)) + lines)
        return number

    def _line(self, frame: int) -> bytes:
        return _number(1, self._profile.function_of[frame] + 1) + _number(2, self._profile.frames[frame].line)

    def functions(self) -> Iterable[bytes]:
        """Write each function."""
        strings = self._strings
        for number, function in self._profile.functions.items():
            # Without a "system name" beside it pprof takes a name as it is, templates and all.
            yield (
                _number(1, number + 1)
                + _number(2, strings[function.name])
                + _number(4, strings[function.file])
            )

    def mappings(self) -> Iterable[bytes]:
        """Write each binary; all that is known of it was looked up, so that readers need not look."""
        for name, number in self._modules.items():
            yield (
                _number(1, number)
                + _number(5, self._strings[name])
                + b"".join(_number(field, 1) for field in (7, 8, 9, 10))
            )


def _modules(functions: Iterable[Function]) -> list[str]:
    """Order the binaries by weight, programs before libraries and the kernel: pprof takes the first for the program."""
    weights: dict[str, tuple[bool, int]] = {}
    for function in functions:
        if function.module:
            is_program, weight = weights.get(function.module, (False, 0))
            is_program |= function.kind == NATIVE and ".so" not in os.path.basename(function.module)
            weights[function.module] = (is_program, weight + function.own)
    return sorted(weights, key=lambda name: (not weights[name][0], -weights[name][1], name))


# ---- the wire -----------------------------------------------------------------------------------------------


def _number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value) if value else b""


def _message(field: int, body: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(body)) + body


def _packed(field: int, values: Iterable[int]) -> bytes:
    return _message(field, b"".join(map(varint, values)))
