"""Ports as they are given: what is one, what is none, and that a wrong one selects nothing by mistake."""

from __future__ import annotations

import pytest

from sonde.errors import KnobError
from sonde.probes.tcp.ports import PORTS_MAX, ports_of, ranges_of


def test_numbers_and_ranges_are_read() -> None:
    assert ports_of("80,443 8000-8100") == ("80", "443", "8000-8100")
    assert ranges_of(("80", "8000-8100"))[:6] == [80, 80, 8000, 8100, 0, 0]
    assert len(ranges_of("1-65535")) == 2 * PORTS_MAX


def test_from_python_numbers_and_a_text_say_the_same() -> None:
    assert ranges_of([80, 443]) == ranges_of("80,443") == ranges_of(("80", "443"))


@pytest.mark.parametrize("text", ["", ",", "0", "65536", "http", "80-", "-80", "90-80", "1-2-3", "+1", "٣"])
def test_what_is_no_port_is_refused(text: str) -> None:
    """None of them may mean all ports."""
    with pytest.raises(ValueError, match=r"no port.*: give "):
        ports_of(text)
    with pytest.raises(KnobError, match=r"^set ports of probe tcp: .*no port.*: give "):
        ranges_of(text)


def test_too_many_are_refused_in_words() -> None:
    with pytest.raises(KnobError, match=r"9 ports are too many: give 8 at most"):
        ranges_of(range(1, 10))
