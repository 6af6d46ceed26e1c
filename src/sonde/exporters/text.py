"""Text that came from outside, as exporters write it: valid UTF-8, harmless, and names so that no two become one."""

from __future__ import annotations

import re
from collections.abc import Callable

BYTES = range(0xDC80, 0xDD00)
"""Python decodes a byte that is no UTF-8 to these ("surrogateescape"), which are no Unicode text."""
SURROGATES = range(0xD800, 0xE000)
BACKSLASHES = re.compile(r"\\+")
LIKE_VISIBLE = re.compile(r"[nrtuU]|x(?:[0189a-f]|7f)")
LIKE_ENCODABLE = re.compile(r"x[89a-f]|ud[89a-f]")
"""What is behind the backslash of an escape."""


def unambiguous(text: str) -> str:
    r"""Write what cannot be printed as its escape: ``\n``, ``\x1b``, ``\u202e``, and ``\xff`` for a byte that is no UTF-8.

    Names of processes and files may hold any byte but NUL. Control characters, line and paragraph separators, lone
    surrogates and marks that turn the direction of writing become visible; letters of all scripts stay. Backslashes
    that were there are doubled where they would look like an escape, or stand before one, and stay elsewhere, as
    systemd's names of units have them (``\x2d``).
    """
    if text.isprintable() and "\\" not in text:
        return text
    return _escaped(text, str.isprintable, LIKE_VISIBLE)


def visible(text: str) -> str:
    """Write words, which may have escapes of their own, with those of ``unambiguous``: for people."""
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    return character if character.isprintable() else _escape(character)


def encodable(text: str) -> str:
    r"""Write what no encoding takes, a byte that is no UTF-8 or another lone surrogate, as its escape, and no more."""
    return _escaped(text, _is_encodable, LIKE_ENCODABLE)


def _is_encodable(character: str) -> bool:
    return ord(character) not in SURROGATES


def _escaped(text: str, stays: Callable[[str], bool], like: re.Pattern[str]) -> str:
    def doubled(found: re.Match[str]) -> str:
        behind = text[found.end() : found.end() + 1]
        is_like = like.match(text, found.end()) or (behind and not stays(behind))
        return found[0] * (2 if is_like else 1)

    return "".join(each if stays(each) else _escape(each) for each in BACKSLASHES.sub(doubled, text))


def _escape(character: str) -> str:
    code = ord(character)
    if code in BYTES:
        return f"\\x{code - 0xDC00:02x}"
    # As Python writes it, but that \xff is a byte.
    return f"\\u{code:04x}" if 0x80 <= code <= 0xFF else repr(character)[1:-1]
