"""The configuration file: read with care, then key by key."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from typing import Any

from sonde.agent.config.catalogue import is_section, why_unknown
from sonde.agent.config.key import Key, Path, dotted
from sonde.agent.config.kind import shown
from sonde.agent.config.lines import lines_of
from sonde.agent.config.setting import Layer, Origin
from sonde.errors import ConfigError, errno_text

BYTES_MAX, LINE_MAX = 65_536, 8_192
"""A file of sonde's has a few KB. Python's parser takes quadratic time for keys with many dots: ten minutes for one
of 256 KB, half a second for one that fits into such a line."""


def read_document(path: str, keys: Mapping[Path, Key], *, content: bytes | None = None) -> Layer:
    """Read a file; raises ConfigError where nothing of it can be read, and keeps what else is wrong in the layer.

    With ``content`` that is read, and ``path`` only says where it came from.
    """
    content, mode = _content(path) if content is None else (_bounded(path, content, len(content)), 0)
    text = _text(path, content)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax(path, error, text) from None
    except (RecursionError, ValueError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(path, reason=why) from None
    layer = Layer()
    _walk(document, (), keys, layer, path, lines_of(text))
    _judge(path, mode, keys, layer)
    return layer


def _content(path: str) -> tuple[bytes, int]:
    """Read the file and its mode; each way to fail is one sentence."""
    if not path or "\0" in path:
        raise ConfigError(path or "configuration", reason="the path is empty or has a NUL: give a file's")
    try:
        # Without blocking: opening a FIFO would wait for its writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        hint = "sonde config example prints one to begin with" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(path, reason=errno_text(error.errno or 0), hint=hint) from None
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        what = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file, which could be read again"
        raise ConfigError(path, reason=f"it is {what}: give a file")
    with open(fd, "rb") as file:
        try:
            content = file.read(BYTES_MAX + 1)
        except OSError as error:
            raise ConfigError(path, reason=errno_text(error.errno or 0)) from None
    return _bounded(path, content, max(status.st_size, len(content))), status.st_mode


def _bounded(path: str, content: bytes, size: int) -> bytes:
    if size > BYTES_MAX:
        raise ConfigError(
            path, reason=f"it has {size:,} bytes, and a configuration has {BYTES_MAX:,} at most"
        )
    return content


def _text(path: str, content: bytes) -> str:
    for number, each in enumerate(content.split(b"\n"), 1):
        if len(each) > LINE_MAX:
            raise ConfigError(path, line=number, reason=f"it is longer than {LINE_MAX:,} bytes")
    if (nul := content.find(b"\0")) >= 0:
        line = content.count(b"\n", 0, nul) + 1
        raise ConfigError(path, line=line, reason="it has a NUL byte: this is no text")
    try:
        # Some editors begin a file with a byte-order mark, which TOML does not know.
        return content.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise ConfigError(
            path, line=line, reason=f"byte 0x{byte:02x} is no UTF-8: save it as UTF-8"
        ) from None


def _syntax(path: str, error: tomllib.TOMLDecodeError, text: str) -> ConfigError:
    found = re.search(r"^(.*) \(at line (\d+), column (\d+)\)$", str(error), re.DOTALL)
    if found:
        why, line, column = found[1], int(found[2]), found[3]
    else:
        # "(at end of document)", which has no line of its own.
        why, line = (
            str(error).removesuffix(" (at end of document)"),
            text.count("\n") + (not text.endswith("\n")),
        )
        column = "end"
    # Python names a table by a tuple.
    why = re.sub(r"\((?:'[^()']*'(?:, |,)?)+\)", _table, why)
    # Python quotes the character that it did not expect; a terminal must not obey it.
    why = why if why.isprintable() else shown(why)
    return ConfigError(path, line=line, reason=f"column {column}: no TOML: {why[:1].lower()}{why[1:]}")


def _table(found: re.Match[str]) -> str:
    names: list[str] = re.findall("'([^']*)'", found[0])
    return f"[{dotted(tuple(names))}]"


def _walk(
    value: Any, at: Path, keys: Mapping[Path, Key], layer: Layer, file: str, lines: Mapping[Path, int]
) -> None:
    """Take a table apart: what is a key is read, what is a section has more of them, the rest is unknown."""
    for name, item in value.items():
        path = (*at, name)
        origin = Origin(file, dotted(path), lines.get(path) or lines.get(at) or 0)
        if path in keys:
            try:
                layer.add(path, keys[path].read(item), origin)
            except ValueError as error:
                layer.refuse(origin, str(error))
        elif not is_section(path, keys):
            layer.refuse(origin, why_unknown(path, keys))
        elif isinstance(item, Mapping):
            if not item and path[:-1] == ("probes",):
                # A probe that is named, and told nothing, runs as one that is told something.
                layer.add((*path, "enabled"), True, origin)
            _walk(item, path, keys, layer, file, lines)
        else:
            layer.refuse(origin, f"{shown(item)} is wrong: it is a section: write [{dotted(path)}]")


def _judge(path: str, mode: int, keys: Mapping[Path, Key], layer: Layer) -> None:
    """Refuse a file that others may write, and one with secrets that others may read."""
    quoted = path if path.isprintable() and " " not in path else shown(path)
    if mode & stat.S_IWOTH:
        layer.problems.insert(
            0, ConfigError(path, reason="everybody may write it", hint=f"run: chmod o-w {quoted}")
        )
    secrets = [each for each in layer.settings if keys[each.path].is_secret]
    if mode & stat.S_IROTH and secrets:
        first = secrets[0].origin
        layer.refuse(first, f"it is a secret, and everybody may read the file: run: chmod o-rwx {quoted}")
