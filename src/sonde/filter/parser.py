"""The language of conditions: ``src 10.0.0.0/8 and tcp dst port 22``.

::

    expression = all { ("or" | "||") all }
    all        = one { ("and" | "&&") one }
    one        = ("not" | "!") one | "(" expression ")" | primitive
    primitive  = flag | "fragment" | "vlan" [numbers] | "ip" | "ip6"
               | [protocol] [direction] ("port" | "portrange") numbers
               | [protocol] [direction] ["host" | "net"] network { "," network }
               | protocol
    protocol   = "tcp" | "udp" | … | "proto" (name | number) { "," (name | number) }
    direction  = "src" | "dst"                                          none: either
    numbers    = number ["-" number] { "," number ["-" number] }

Written by hand: pcap's own compiler gives classic BPF, which cannot be taken apart into maps, and a parser generator would
be larger than this file and could not say what was meant (docs/dependencies.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_network
from typing import NoReturn, TypeVar

from sonde.filter.expression import (
    ANY_VLAN,
    And,
    Direction,
    Expression,
    Flag,
    Fragment,
    Network,
    Networks,
    Not,
    Or,
    Ports,
    Protocols,
    Version,
    Vlan,
)
from sonde.filter.packet import TCP_FLAGS
from sonde.filter.protocol_name import ALIASES, NUMBERS, protocol_number
from sonde.nearest import nearest

DEPTH_MAX = 50
LENGTH_MAX = 1 << 20
MAPPED_BITS = 96
WITH_PORTS = ("tcp", "udp", "sctp", "dccp", "udplite")
_SAME = {"&&": "and", "||": "or", "!": "not"}
_TOKEN = re.compile(r"\s*(?:(&&|\|\||[()!,])|([^\s()!,&|]+)|(\S))")
_ADDRESS = re.compile(r"[0-9.]+(/.*)?|[0-9a-f:.]*:[0-9a-f:.]*(/.*)?")
KEYWORDS = ("and", "or", "not", "src", "dst", "host", "net", "port", "portrange", "proto", "vlan", "fragment", "ip", "ip6")  # fmt: skip
T = TypeVar("T")


class ExpressionError(ValueError):
    """A condition that cannot be read; ``column`` counts from 1, and is where the word stands."""

    def __init__(self, why: str, *, column: int) -> None:
        super().__init__(f"character {column}: {why}")
        self.column = column


@dataclass(frozen=True, slots=True)
class Token:
    """A word, or a sign; ``column`` counts from 1."""

    text: str
    column: int


def parse(text: str) -> Expression:
    """Read a condition; raises ExpressionError, which says at which word it went wrong and what was meant."""
    if len(text) > LENGTH_MAX:
        raise ExpressionError(f"it is longer than {LENGTH_MAX:,} characters", column=1)
    return Parser(text).whole()


def words() -> list[str]:
    """Give every word of the language."""
    return [*KEYWORDS, *NUMBERS, *ALIASES, *TCP_FLAGS]


class Parser:
    """Reads one text from left to right, looking one word ahead."""

    def __init__(self, text: str) -> None:
        self._tokens = [
            Token(_SAME.get(word := (found[1] or found[2] or found[3]).lower(), word), found.end() - len(word) + 1)
            for found in _TOKEN.finditer(text.rstrip())
        ]  # fmt: skip
        self._end = len(text.rstrip()) + 1
        self._at = self._depth = 0

    def whole(self) -> Expression:
        """Read all of it."""
        if not self._tokens:
            raise ExpressionError("there is no condition: give one, as 'src 10.0.0.0/8'", column=1)
        found = self._any()
        if self._at < len(self._tokens):
            self._refuse("and, or, or the end belongs here", words())
        return found

    # ---- words ----------------------------------------------------------------------------------------------

    @property
    def _word(self) -> str:
        return self._tokens[self._at].text if self._at < len(self._tokens) else ""

    def _take(self, *words: str) -> str:
        """Step over the next word if it is one of these; gives it, or nothing."""
        word = self._word
        if not word or word not in words:
            return ""
        self._at += 1
        return word

    def _refuse(self, expected: str, known: Sequence[str] = ()) -> NoReturn:
        if self._at >= len(self._tokens):
            raise ExpressionError(f"it ends too early: {expected}", column=self._end)
        token = self._tokens[self._at]
        near = nearest(token.text, known, 1) if token.text not in known else []
        meant = f": did you mean {near[0]}?" if near else ""
        shown = token.text if len(token.text) <= 40 else f"{token.text[:39]}…"
        raise ExpressionError(f"{shown!r}: {expected}{meant}", column=token.column)

    # ---- and, or, not -----------------------------------------------------------------------------------------

    def _any(self) -> Expression:
        operands = [self._all()]
        while self._take("or"):
            operands.append(self._all())
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def _all(self) -> Expression:
        operands = [self._one()]
        while self._take("and"):
            operands.append(self._one())
        return conjunction(operands)

    def _one(self) -> Expression:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            self._refuse(f"it is nested more than {DEPTH_MAX} deep")
        if self._take("not"):
            found: Expression = Not(self._one())
        elif self._take("("):
            found = self._any()
            if not self._take(")"):
                self._refuse("a closing bracket belongs here", words())
        else:
            found = self._primitive()
        self._depth -= 1
        return found

    # ---- primitives -------------------------------------------------------------------------------------------

    def _primitive(self) -> Expression:
        if flag := self._take(*TCP_FLAGS):
            return Flag(flag)
        if self._take("fragment"):
            return Fragment()
        if self._take("vlan"):
            is_number = self._word[:1].isdigit()
            return Vlan(
                self._list(lambda: self._range("VLAN identifier", ANY_VLAN[1])) if is_number else (ANY_VLAN,)
            )
        protocol = self._protocol()
        direction: Direction | None = self._take("src", "dst") or None  # type: ignore[assignment]
        if self._take("port", "portrange"):
            place: Expression = self._ports(protocol, direction)
        elif self._take("host", "net") or direction is not None or _ADDRESS.fullmatch(self._word):
            place = either(direction, Networks, self._list(self._network))
        elif protocol is not None:
            return protocol
        elif not self._word:
            self._refuse("a condition belongs here")
        else:
            self._refuse("no condition begins like this", words())
        return place if protocol is None else And((protocol, place))

    def _protocol(self) -> Expression | None:
        if version := self._take("ip", "ip6"):
            return Version(4 if version == "ip" else 6)
        if self._take("proto"):
            return Protocols(tuple(dict.fromkeys(self._list(self._protocol_number))))
        number = protocol_number(self._word)
        if number is None:
            return None
        self._at += 1
        return Protocols((number,))

    def _protocol_number(self) -> int:
        number = protocol_number(self._word)
        if number is None:
            return self._number("protocol", 255)
        self._at += 1
        return number

    def _ports(self, protocol: Expression | None, direction: Direction | None) -> Expression:
        numbers = protocol.numbers if isinstance(protocol, Protocols) else ()
        without = [number for number in numbers if number not in {NUMBERS[name] for name in WITH_PORTS}]
        if without:
            self._at -= 1
            self._refuse(f"protocol {Protocols(tuple(without))} has no ports")
        return either(direction, Ports, self._list(lambda: self._range("port", 65535)))

    def _list(self, item: Callable[[], T]) -> tuple[T, ...]:
        items = [item()]
        while self._take(","):
            items.append(item())
        return tuple(dict.fromkeys(items))

    def _number(self, noun: str, most: int, text: str | None = None) -> int:
        word = self._word if text is None else text
        # Not isdigit alone: it takes the digits of every script.
        if not (word.isascii() and word.isdigit() and len(word) < 7 and int(word) <= most):
            names = NUMBERS if noun == "protocol" else ()
            self._refuse(f"a {noun} belongs here, a number from 0 to {most}", list(names))
        if text is None:
            self._at += 1
        return int(word)

    def _range(self, noun: str, most: int) -> tuple[int, int]:
        first, dash, last = self._word.partition("-")
        low = self._number(noun, most, first)
        high = self._number(noun, most, last) if dash else low
        if high < low:
            self._refuse(f"a range goes up: {high}-{low}")
        self._at += 1
        return low, high

    def _network(self) -> Network:
        try:
            network = read_network(self._word)
        except ValueError as error:
            self._refuse(str(error))
        self._at += 1
        return network


def read_network(text: str) -> Network:
    """Read an address or a network; raises ValueError, with what was meant where bits behind the prefix are set.

    Parts of ::ffff:0:0/96 are refused, too: sockets show IPv4's addresses so, packets do not have them.
    """
    try:
        found = ip_network(text)
    except ValueError:
        pass
    else:
        _refuse_mapped(found)
        return found
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("an address or a network belongs here, as 10.0.0.0/8 or 2001:db8::1") from None
    raise ValueError(f"it has bits set behind its prefix: write {meant}")


def _refuse_mapped(network: Network) -> None:
    if not isinstance(network, IPv6Network) or network.prefixlen <= MAPPED_BITS:
        return
    ipv4, bits = network.network_address.ipv4_mapped, network.prefixlen - MAPPED_BITS
    if ipv4 is not None:
        meant = ipv4 if bits == ipv4.max_prefixlen else ip_network((ipv4, bits))
        raise ValueError(f"only sockets show IPv4 so, packets of it are IPv4's: write {meant}")


def conjunction(operands: Sequence[Expression]) -> Expression:
    """Give what holds where all of them hold; conjunctions among them are taken apart."""
    parts: list[Expression] = []
    for operand in operands:
        parts.extend(operand.operands if isinstance(operand, And) else (operand,))
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def either(direction: Direction | None, kind: Callable[[Direction, tuple[T, ...]], Expression], values: tuple[T, ...]) -> Expression:  # fmt: skip
    """Ask it of one side, or, where no direction was given, of either."""
    if direction is not None:
        return kind(direction, values)
    return Or((kind("src", values), kind("dst", values)))
