"""JSON that stays on its line, whatever is in it."""

from __future__ import annotations

import re

# JSON escapes what lies below U+0020. These too end a line for some reader, turn its direction, or (U+009B) begin a
# terminal's escape sequence; outside of strings JSON has none of them.
_UNSAFE = "[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"


def unbroken(text: bytes) -> bytes:
    """Escape in encoded JSON what could end a line, or tell a terminal something; it decodes to the same."""
    if text.isascii() and b"\x7f" not in text:
        return text
    # Compiled where it is needed: that takes 0.2 MB, and hardly any text has one.
    return re.sub(_UNSAFE, lambda found: f"\\u{ord(found[0]):04x}", text.decode()).encode()
