"""Kinds of values: how each is written in TOML, in an environment variable, and what it is read as."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sonde.agent.config.size import size_bytes, size_text
from sonde.duration import UNITS_NS, duration_s
from sonde.nearest import nearest

OFF = "off"
TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def shown(value: object) -> str:
    """Write a value as a message shows it: in one line, not too long, nothing that a terminal would obey."""
    text = quoted_bool(value) if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def quoted_bool(value: bool) -> str:  # noqa: FBT001
    """Write a boolean as TOML."""
    return "true" if value else "false"


class HarmlessError(ValueError):
    """What is wrong with a value, in words that tell nothing of it: they may be said of a secret."""


class Kind:
    """What a key takes. ``read`` takes TOML's values, ``read_text`` a variable's; both raise ValueError with a reason.

    ``valid`` says what is right, as it goes on behind "give ".
    """

    @property
    def valid(self) -> str:
        """Say what is right."""
        raise NotImplementedError

    def read(self, value: object) -> Any:
        """Read a value as TOML has it."""
        raise NotImplementedError

    def read_text(self, text: str) -> Any:
        """Read an environment variable or a word of the command line."""
        return self.read(text)

    def write(self, value: Any) -> str:
        """Write a value as TOML."""
        return quoted(value)

    def refuse(self, value: object) -> ValueError:
        """Make the error for a value that is none of this kind."""
        return ValueError(f"{shown(value)} is wrong: give {self.valid}")


def quoted(text: object) -> str:
    """Write a text as a basic string of TOML, which has JSON's escapes."""
    return json.dumps(str(text), ensure_ascii=False).replace("\x7f", "\\u007f")


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """A text of one line; ``noun`` is what it is."""

    noun: str = "a text"
    is_empty_valid: bool = True

    @property
    def valid(self) -> str:
        """Say what is right."""
        return self.noun

    def read(self, value: object) -> str:
        """Take a text without control characters."""
        if not isinstance(value, str) or not (value or self.is_empty_valid):
            raise self.refuse(value)
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            raise ValueError(f"{shown(value)} has control characters: give {self.valid}")
        return value


@dataclass(frozen=True, slots=True)
class Boolean(Kind):
    """True or false."""

    @property
    def valid(self) -> str:
        """Say what is right."""
        return "true or false"

    def read(self, value: object) -> bool:
        """Take TOML's booleans."""
        if not isinstance(value, bool):
            raise self.refuse(value)
        return value

    def read_text(self, text: str) -> bool:
        """Take the words that people use in variables."""
        word = text.strip().lower()
        if word not in TRUE + FALSE:
            raise self.refuse(text)
        return word in TRUE

    def write(self, value: bool) -> str:  # noqa: FBT001  # the value is what is written
        """Write it."""
        return "true" if value else "false"


@dataclass(frozen=True, slots=True)
class Integer(Kind):
    """A whole number within bounds."""

    least: int = 0
    most: int = (1 << 32) - 1

    @property
    def valid(self) -> str:
        """Say what is right."""
        return f"a whole number from {self.least} to {self.most}"

    def read(self, value: object) -> int:
        """Take it; true is no number."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= self.most:
            raise self.refuse(value)
        return value

    def read_text(self, text: str) -> int:
        """Read digits."""
        try:
            return self.read(int(text))
        except ValueError:
            raise self.refuse(text) from None

    def write(self, value: int) -> str:
        """Write it."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """One of some words."""

    words: tuple[str, ...]
    noun: str = "word"

    @property
    def valid(self) -> str:
        """Say what is right."""
        return " or ".join(", ".join(self.words).rsplit(", ", 1))

    def read(self, value: object) -> str:
        """Take one of them; in another case, too."""
        word = value.strip().lower() if isinstance(value, str) else ""
        if word in self.words:
            return word
        near = nearest(word, self.words, 1) if word else []
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"there is no {self.noun} {shown(value)}: {hint}valid: {', '.join(self.words)}")


@dataclass(frozen=True, slots=True)
class Duration(Kind):
    """A time within bounds, which are written as times themselves; in seconds."""

    least: str = "1ms"
    most: str = "365d"

    @property
    def valid(self) -> str:
        """Say what is right."""
        return f"a time from {self.least} to {self.most}, as 500ms or 5s"

    def read(self, value: object) -> float:
        """Take ``"5s"``; a plain number is seconds."""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.refuse(value)
        try:
            seconds = duration_s(str(value))
        except ValueError:
            raise self.refuse(value) from None
        if not duration_s(self.least) <= seconds <= duration_s(self.most):
            raise self.refuse(value)
        return seconds

    def write(self, value: float) -> str:
        """Write it with the largest unit that leaves a whole number."""
        nanoseconds = round(value * 1e9)
        for unit, each in reversed(UNITS_NS.items()):
            if unit.isascii() and nanoseconds and nanoseconds % each == 0:
                return quoted(f"{nanoseconds // each}{unit}")
        return quoted("0s")


@dataclass(frozen=True, slots=True)
class Size(Kind):
    """A size within bounds, in bytes."""

    least: int = 1
    most: int = 1 << 62

    @property
    def valid(self) -> str:
        """Say what is right."""
        return f"a size of at least {size_text(self.least)}, as 100MB or 64KiB"

    def read(self, value: object) -> int:
        """Take ``"100MB"``; a plain number is bytes."""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.refuse(value)
        try:
            size = size_bytes(str(value))
        except ValueError:
            raise self.refuse(value) from None
        if not self.least <= size <= self.most:
            raise self.refuse(value)
        return size

    def write(self, value: int) -> str:
        """Write it."""
        return quoted(size_text(value))


@dataclass(frozen=True, slots=True)
class Share(Kind):
    """A share of one core, ``"1%"``, or ``"off"``, which is None; 1.0 is the whole core."""

    least: float = 0.0001
    most: float = 100.0

    @property
    def valid(self) -> str:
        """Say what is right."""
        return 'a share of one core, as "1%", or "off"'

    def read(self, value: object) -> float | None:
        """Take it."""
        if value == OFF:
            return None
        if not isinstance(value, str) or not value.strip().endswith("%"):
            raise self.refuse(value)
        try:
            share = float(value.strip()[:-1]) / 100
        except ValueError:
            raise self.refuse(value) from None
        # Written so that NaN is refused as well.
        if not self.least <= share <= self.most:
            raise self.refuse(value)
        return share

    def write(self, value: float | None) -> str:
        """Write it."""
        return quoted(OFF if value is None else f"{value * 100:.10g}%")


@dataclass(frozen=True, slots=True)
class Several(Kind):
    """A list of values of one kind; one alone needs no brackets, and in a variable commas separate them."""

    item: Kind

    @property
    def valid(self) -> str:
        """Say what is right."""
        return f"a list of: {self.item.valid}"

    def read(self, value: object) -> tuple[Any, ...]:
        """Take a list, or one; each only once."""
        items = value if isinstance(value, list) else [value]
        return tuple(dict.fromkeys(self.item.read(item) for item in items))

    def read_text(self, text: str) -> tuple[Any, ...]:
        """Split at commas."""
        items = [self.item.read_text(word.strip()) for word in text.split(",") if word.strip()]
        return tuple(dict.fromkeys(items))

    def write(self, value: Sequence[Any]) -> str:
        """Write the list."""
        return f"[{', '.join(self.item.write(item) for item in value)}]"


@dataclass(frozen=True, slots=True)
class Pairs(Kind):
    """Names with values: a table of TOML; in a variable ``name=value,name=value`` with percent-encoding, as OTel's.

    A later layer adds to an earlier one, name by name. Nested tables are names with dots. Where ``is_plain`` values
    are texts, else numbers and booleans, too. A name is compared without case where ``is_folded``, as in HTTP.
    """

    noun: str
    is_plain: bool = True
    is_folded: bool = False

    @property
    def valid(self) -> str:
        """Say what is right."""
        return f"{self.noun}, a table of names and values, or the text name=value,name=value"

    def read(self, value: object) -> dict[str, Any]:
        """Take a table."""
        if not isinstance(value, Mapping):
            raise self.refuse(value)
        found: dict[str, Any] = {}
        for number, (name, item) in enumerate(value.items(), 1):
            if isinstance(item, Mapping) and not self.is_plain:
                found |= {f"{name}.{rest}": each for rest, each in self.read(item).items()}
            else:
                found[self._name(name)] = self._item(number, name, item)
        return found

    def read_text(self, text: str) -> dict[str, Any]:
        """Split at commas, then at the first equals sign."""
        from urllib.parse import unquote

        found = {}
        for number, pair in enumerate((part.strip() for part in text.split(",")), 1):
            name, equals, value = pair.partition("=")
            if pair and not equals:
                raise HarmlessError("one has no =: give name=value,name=value")
            if pair:
                name = unquote(name.strip())
                found[self._name(name)] = self._item(number, name, unquote(value.strip()))
        return found

    def write(self, value: Mapping[str, Any]) -> str:
        """Write them as an inline table."""
        pairs = (f"{quoted(name)} = {_scalar(item)}" for name, item in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"

    def _name(self, name: str) -> str:
        if not name or not name.isprintable() or (self.is_folded and not _is_token(name)):
            raise ValueError(f"{shown(name)} is no name of {self.noun}: letters, digits and - make one")
        return name.lower() if self.is_folded else name

    def _item(self, number: int, name: str, item: object) -> Any:
        types = (str,) if self.is_plain else (str, bool, int, float)
        is_text_right = not isinstance(item, str) or (
            item.isprintable() and (item.isascii() or not self.is_folded)
        )
        if not isinstance(item, types) or not is_text_right:
            words = "a text of one line" if self.is_plain else "a text of one line, a number or a boolean"
            if self.is_folded:
                # Of a secret that was given without a name, what is before its = looks like one.
                raise HarmlessError(f"number {number} is wrong: give a text of one line, in ASCII")
            raise ValueError(f"the value of {shown(name)} is wrong: give {words}")
        return item


def _is_token(name: str) -> bool:
    """Tell whether a name may be one of a header (RFC 9110, section 5.6.2)."""
    return all(
        character.isascii() and (character.isalnum() or character in "!#$%&'*+-.^_`|~") for character in name
    )


def _scalar(item: object) -> str:
    if isinstance(item, bool):
        return quoted_bool(item)
    return repr(item) if isinstance(item, int | float) else quoted(item)
