"""Text as Arrow wants it, UTF-8, without losing the bytes that are none."""

from __future__ import annotations

import re

WORDS_MAX = 65_536

_SURROGATE = re.compile("[\ud800-\udfff]")
_PRIVATE = re.compile("[\uee80-\ueeff]")
_PRIVATE_START, _BYTE_START = 0xEE80, 0xDC80


def encoded(text: str) -> bytes:
    """Encode text; a byte that is no UTF-8 (decoded with ``surrogateescape``) goes to U+EE80 … U+EEFF, for private use."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub(_hidden, text).encode()


def decoded(raw: bytes) -> str:
    """Decode what ``encoded`` made; raises UnicodeDecodeError for what it cannot have made."""
    text = raw.decode()
    return text if text.isascii() else _PRIVATE.sub(_shown, text)


def _hidden(found: re.Match[str]) -> str:
    code = ord(found[0])
    # Other lone surrogates stand for nothing.
    return chr(code - _BYTE_START + _PRIVATE_START) if _BYTE_START <= code < _BYTE_START + 128 else "\ufffd"


def _shown(found: re.Match[str]) -> str:
    return chr(ord(found[0]) - _PRIVATE_START + _BYTE_START)


class Encoded(dict[object, bytes]):
    """Texts as bytes, each different one encoded once; None is empty. Raises TypeError for what is no text."""

    def __missing__(self, text: object) -> bytes:
        if len(self) >= WORDS_MAX:
            self.clear()
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{type(text).__name__} is no text")
        found = self[text] = b"" if text is None else encoded(text)
        return found


class Decoded(dict[bytes, str]):
    """Bytes as texts, each different one decoded once."""

    def __missing__(self, raw: bytes) -> str:
        if len(self) >= WORDS_MAX:
            self.clear()
        found = self[raw] = decoded(raw)
        return found
