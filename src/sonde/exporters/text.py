"""Text that came from outside, as all exporters write it: valid UTF-8, on one line, harmless to a terminal."""

from __future__ import annotations

SURROGATE_OF_BYTE = range(0xDC80, 0xDD00)
"""Python decodes a byte that is no UTF-8 to these ("surrogateescape")."""


def visible(text: str) -> str:
    r"""Write what cannot be printed as its escape: ``\n``, ``\x1b``, ``\u202e``, and ``\xff`` for a byte that is no UTF-8.

    Names of processes and files may hold any byte but NUL. Control characters, line and paragraph separators, lone
    surrogates and marks that turn the direction of writing become visible; letters of all scripts stay. The escapes
    are Python's, but a backslash that was there stays single, as systemd's names of units have them (``\x2d``).
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if code in SURROGATE_OF_BYTE:
        return f"\\x{code - 0xDC00:02x}"
    return repr(character)[1:-1]
