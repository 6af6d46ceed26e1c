"""Names as they were written: what C++ and Rust compilers make of them is undone."""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Callable

NAME_LENGTH_MAX = 2048
"""Longer names stay as they are: demanglers call themselves, and their stack is ours."""
LIBRARIES = ("libstdc++.so.6", "libc++abi.so.1", "libc++.so.1")
GLIBC_INSIDE = "__GI_"
"""What glibc puts before the name of a function where it calls it itself."""
_RUST_HASH = re.compile(r"::h[0-9a-f]{16}$")
_RUST_END = re.compile(r"17h[0-9a-f]{16}E$")
_RUST_ESCAPE = re.compile(r"\$(SP|BP|RF|LT|GT|LP|RP|C|u[0-9a-f]{1,6})\$")
_RUST_LETTERS = {"SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ","}
# What compilers add to the name of a function when they make parts and copies of it.
_ADDED = re.compile(r"(?:\.(?:cold|constprop|isra|part|lto_priv|llvm|localalias|clone|ipa_\w+|\d+))+$")
# What Go numbers itself: functions within functions, and those that begin a package.
_GO = re.compile(r"\.(?:func|gowrap|deferwrap)\d+(?:\.\d+)+$|\.init\.\d+$")
# The version of a library's function, as symbol tables of debug files have it: of all callers (@@), or of those of old.
_VERSION = re.compile(r"@@?(?!plt$)[^@]+$")

Demangle = Callable[[str], str]
"""Gives the whole name, "" where it is no mangled one."""


@functools.lru_cache(maxsize=16_384)
def demangled(name: str) -> str:
    """Give a function's name in the source, without parameters, and without what compilers add to parts of it (``.cold``)."""
    if _GO.search(name):
        return name
    name = _ADDED.sub("", _VERSION.sub("", name)) or name
    name = name.removeprefix(GLIBC_INSIDE) or name
    if not name.startswith(("_Z", "_R", "__Z")) or len(name) > NAME_LENGTH_MAX:
        return name
    whole = _demangler()(name)
    if not whole:
        return name
    plain = _RUST_HASH.sub("", whole)
    is_rust = name.startswith("_R") or _RUST_END.search(name) is not None
    return _unescaped(plain) if is_rust else without_parameters(plain)


def without_parameters(name: str) -> str:
    """Take a C++ function's parameters off, and the type that it returns."""
    end = _end_of_name(name)
    return name[_begin_of_name(name, end) : end]


def _end_of_name(name: str) -> int:
    """Find where the parameters begin: the last bracket that opens outside of all others, but for operator()."""
    depth, opened, end = 0, -1, len(name)
    for at in range(len(name) - 1, -1, -1):
        letter = name[at]
        if letter == ")":
            if depth == 0 and opened < 0:
                end = at
            depth += 1
        elif letter == "(":
            depth -= 1
            if depth == 0:
                opened = at
                break
    if opened <= 0 or "::" in name[end + 1 :] or name[:opened].endswith("operator"):
        return len(name)
    return opened


def _begin_of_name(name: str, end: int) -> int:
    """Find where the name begins: behind the last blank outside of all brackets, but for operators."""
    depth = 0
    for at in range(end - 1, -1, -1):
        letter = name[at]
        if letter in ">)]}":
            is_operator = re.search(r"operator\s*[-<>=]*$", name[: at + 1]) is not None
            depth += not is_operator
        elif letter in "<([{" and depth:
            depth -= 1
        elif letter == " " and not depth and not re.search(r"operator[^:]*$", name[: at + 1]):
            return at + 1
    return 0


def _unescaped(name: str) -> str:
    """Undo how older Rust compilers write what C++ has no letters for."""
    if "$" not in name and ".." not in name:
        return name

    def letter(found: re.Match[str]) -> str:
        code = found[1]
        if code in _RUST_LETTERS:
            return _RUST_LETTERS[code]
        number = int(code[1:], 16)
        return chr(number) if 0x20 <= number < 0xD800 else found[0]

    # A part that begins with an escape has an underscore before it, for C++'s sake.
    return _RUST_ESCAPE.sub(letter, re.sub(r"(^|::)_\$", r"\1$", name)).replace("..", "::")


@functools.cache
def _demangler() -> Demangle:
    """Choose who demangles: pydemumble (the extra ``symbols``), else the machine's C++ library, else nobody."""
    try:
        import pydemumble
    except ImportError:
        return _of_library()
    demangle: Demangle = pydemumble.demangle
    return demangle


def _of_library() -> Demangle:
    """Take __cxa_demangle, which knows C++ and older Rust."""
    for name in LIBRARIES:
        try:
            library = ctypes.CDLL(name)
            function = library.__cxa_demangle
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_void_p
        function.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
        return functools.partial(_call, function, ctypes.CDLL(None).free)
    return lambda _: ""


def _call(function: Callable[..., int | None], free: Callable[[ctypes.c_void_p], object], name: str) -> str:
    status = ctypes.c_int()
    found = function(name.encode(errors="replace"), None, None, ctypes.byref(status))
    if not found:
        return ""
    try:
        return ctypes.string_at(found).decode(errors="replace")
    finally:
        free(ctypes.c_void_p(found))
