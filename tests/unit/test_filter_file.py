"""The file of rules: what it says, and one sentence for each thing that is wrong."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from sonde.cli.commands.filter import EXAMPLES
from sonde.errors import ConfigError
from sonde.filter.rule_file import KEYS, read_rules

GOOD = """\
# The first rule that fits decides.
[[rule]]
name = "the office"
action = "allow"
src = ["192.0.2.0/24", "2001:db8::/32"]

[[rule]]
action = "drop"
src = "10.0.0.0/8"
src_file = "blocked.txt"
protocol = ["tcp", 47]
dst_port = [22, "8000-8100"]
flags = "syn and not ack"
vlan = 100

[[rule]]
action = "rate-limit"
rate = "100/s burst 200, 1MB/s"
match = "udp dst port 53"
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "blocked.txt").write_text("# a list\n\n198.51.100.0/24  # with a remark\n203.0.113.7\n")
    path = tmp_path / "rules.toml"
    path.write_text(GOOD)
    return path


def problems_of(path: Path, content: str | bytes) -> list[str]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError) as caught:
        read_rules(str(path))
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_a_file_of_rules(rules: Path) -> None:
    found = read_rules(str(rules)).rules
    assert [str(rule) for rule in found] == [
        "allow: src 192.0.2.0/24,2001:db8::/32",
        "drop: src 10.0.0.0/8,198.51.100.0/24,203.0.113.7 and proto tcp,gre and dst port 22,8000-8100 and syn and not ack and vlan 100",
        "rate-limit 100/s burst 200, 1MB/s: udp and dst port 53",
    ]
    assert [rule.name for rule in found] == ["the office", "", ""]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "rules.toml: it has no rules: begin each with [[rule]]"),
        ("[[rules]]\n", "rules.toml: 'rules': there is no such key: did you mean rule?: rules are tables [[rule]]"),
        ("rule = 3\n", "rules.toml: rule: it is no list of tables: begin each rule with [[rule]]"),
        ("\n[[rule]]\n", "rules.toml:2: rule 1, action: is missing: give allow, drop, rate-limit"),
        ("[[rule]]\naction='drpo'\n", "rules.toml:1: rule 1, action: 'drpo' is none: did you mean drop?: give allow, drop, rate-limit"),
        ("[[rule]]\naction='drop'\n", "rules.toml:1: rule 1, match: it has no condition: give match, or src, dst, protocol, …"),
        ("[[rule]]\naction='drop'\nsorce='::'\n", f"rules.toml:1: rule 1, 'sorce': there is no such key: did you mean src?: valid: {', '.join(KEYS)}"),
        ("[[rule]]\naction='drop'\nsrc='10.1.0.0/8'\n", "rules.toml:1: rule 1, src: '10.1.0.0/8': it has bits set behind its prefix: write 10.0.0.0/8"),
        ("[[rule]]\naction='drop'\nsrc=[]\n", "rules.toml:1: rule 1, src: it is empty: give networks, as ['10.0.0.0/8']"),
        ("[[rule]]\naction='drop'\nsrc=10\n", "rules.toml:1: rule 1, src: 10 is wrong: give a text, as '10.0.0.0/8'"),
        ("[[rule]]\naction='drop'\nsrc_port=70000\n", "rules.toml:1: rule 1, src_port: '70000': a port belongs here, a number from 0 to 65535"),
        ("[[rule]]\naction='drop'\nprotocol='icmpp'\n", "rules.toml:1: rule 1, protocol: 'icmpp': a protocol belongs here, a number from 0 to 255: did you mean icmp?"),
        ("[[rule]]\naction='drop'\nvlan=true\n", "rules.toml:1: rule 1, vlan: True is wrong: give a text, a number, or a list of them"),
        ("[[rule]]\naction='drop'\nmatch='tpc'\n", "rules.toml:1: rule 1, match: character 1: 'tpc': no condition begins like this: did you mean tcp?"),
        ("[[rule]]\naction='drop'\nrate='1/s'\nmatch='tcp'\n", "rules.toml:1: rule 1, rate: action drop takes no rate"),
        ("[[rule]]\naction='rate-limit'\nmatch='tcp'\n", "rules.toml:1: rule 1, rate: is missing: give '100/s'"),
        ("[[rule]]\naction='rate-limit'\nrate=5\nmatch='tcp'\n", "rules.toml:1: rule 1, rate: 5 is wrong: give a text, as '100/s'"),
        ("[[rule]]\naction='drop'\nname=\"a\\nb\"\nmatch='tcp'\n", "rules.toml:1: rule 1, name: 'a\\nb' is wrong: give a text of one line"),
        ("[[rule]]\naction='drop'\nsrc_file='nope'\n", "nope: no such file or directory (ENOENT)"),
        ("a = 1\nb = = 2\n", "rules.toml:2: column 5: no TOML: invalid value"),
        ("a" + ".a" * 5000 + " = 1", "rules.toml:1: it has more than 1,000 dots outside of texts"),
        ("a = " + "[" * 50_000, "rules.toml: it is nested too deeply"),
        (b"a = '\xff'", "rules.toml:1: byte 0xff is no UTF-8: save it as UTF-8"),
        (b"\na\0", "rules.toml:2: it has a NUL byte: this is no text"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(rules: Path, content: str | bytes, problem: str) -> None:
    assert problems_of(rules, content) == [problem]


def test_all_rules_that_are_wrong_are_named(rules: Path) -> None:
    found = problems_of(rules, "[[rule]]\naction='x'\n\n[[rule]]\naction='drop'\nsrc='y'\n")
    assert [each.partition(":")[2].partition(":")[0] for each in found] == ["1", "4"]


def test_a_list_names_its_own_line(rules: Path) -> None:
    rules.with_name("blocked.txt").write_text("10.0.0.0/8\n\nten\n")
    assert problems_of(rules, GOOD) == [
        "blocked.txt:3: 'ten': an address or a network belongs here, as 10.0.0.0/8 or 2001:db8::1"
    ]


def test_files_that_cannot_be_rules(rules: Path, tmp_path: Path) -> None:
    """Others may write it, a folder, a pipe without a writer: refused at once."""
    rules.chmod(0o666)
    os.mkfifo(tmp_path / "pipe")
    for path, why in (
        (rules, "everybody may write it, and so decide what is dropped: run: chmod o-w"),
        (tmp_path, "it is a directory: give a file"),
        (tmp_path / "pipe", "it is no regular file, which could be read again: give a file"),
        (Path("/proc/self/mem"), "everybody|it is|input/output|no rules"),
    ):
        with pytest.raises(ConfigError, match=why):
            read_rules(str(path))


def test_files_that_were_changed_by_chance_give_rules_or_sentences(rules: Path) -> None:
    """Bytes turned, lines moved, pieces cut out: never anything but a ConfigError of printable lines."""
    chosen = random.Random(2039)
    good = 0
    for _ in range(1009):
        content = bytearray(GOOD.encode())
        for _ in range(chosen.randrange(1, 6)):
            at = chosen.randrange(len(content))
            if chosen.random() < 0.5:
                content[at] = chosen.randrange(256)
            else:
                del content[at : at + chosen.randrange(1, 30)]
        rules.write_bytes(content)
        try:
            read_rules(str(rules))
            good += 1
        except ConfigError as error:
            for problem in error.problems:
                assert "\n" not in str(problem)
                assert str(problem).isprintable(), problem
    assert good > 10


def test_help_names_every_key_and_shows_a_rule_that_can_be_read(rules: Path) -> None:
    told = EXAMPLES.partition("[[rule]]")[2]
    assert all(re.search(rf"\b{key}\b", told) for key in KEYS)
    rules.write_text("\n".join(["[[rule]]", *told.splitlines()[1:]]))
    assert "drop: tcp and dst port 22" == str(read_rules(str(rules)).rules[0])
