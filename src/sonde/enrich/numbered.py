"""Tables written as words: a number, then the names that it and its successors have."""

from __future__ import annotations


def numbered(text: str) -> dict[int, str]:
    """Read number → name: ``"0 read write 5 fstat"`` gives 0 read, 1 write, 5 fstat."""
    names: dict[int, str] = {}
    number = 0
    for word in text.split():
        if word.isdigit():
            number = int(word)
        else:
            names[number] = word
            number += 1
    return names
