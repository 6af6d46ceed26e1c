"""``sonde filter`` and its file of rules, which is read again while it runs."""

from __future__ import annotations

import signal
from pathlib import Path

from kernel.filter_process import counts, ended, filtering, frame, rule, said, write
from kernel.network import Pair
from kernel.sonde_process import balanced


def test_a_hangup_reads_the_file_again(net: Pair, tmp_path: Path) -> None:
    """A good file takes the old one's place; a bad one is refused with its reason, and the old rules stay."""
    path = tmp_path / "rules.toml"
    write(path, rule(7))
    with filtering(net, "--rules", str(path), "--every", "1h", "--format", "json") as process:
        net.send(frame(net, "10.0.0.1", 7), count=3)
        write(path, rule(9) + rule(7))
        process.send_signal(signal.SIGHUP)
        assert (
            said(process, "replaced") == "sonde: the rules were replaced: 2 rules: 1 kept, 1 new, 0 removed\n"
        )
        net.send(frame(net, "10.0.0.1", 7), frame(net, "10.0.0.1", 9), count=5)
        write(path, rule(9).replace("udp", "upd"))
        process.send_signal(signal.SIGHUP)
        assert said(process, "old rules") == (
            f"sonde: the old rules stay: {path}:1: rule 1, match: character 1: 'upd': "
            "no condition begins like this: did you mean udp?\n"
        )
        path.unlink()
        process.send_signal(signal.SIGHUP)
        assert said(process, "old rules").endswith("rules.toml: no such file or directory (ENOENT)\n")
        net.send(frame(net, "10.0.0.1", 9), count=2)
        output = ended(process)
    assert counts(output) == {
        "udp and dst port 9": (7, 7),
        "udp and dst port 7": (8, 8),
        "(no rule)": (0, 0),
    }
    assert balanced(output.accounting)


def test_a_file_that_changes_is_read_again_where_it_is_watched(net: Pair, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    write(path, rule(7))
    with filtering(net, "--rules", str(path), "--watch", "--every", "50ms", "--format", "csv") as process:
        write(path, rule(9))
        assert said(process, "replaced").endswith("1 rule: 0 kept, 1 new, 1 removed\n")
        write(path, "nonsense")
        assert "the old rules stay" in said(process, "stay")
        assert ended(process).status == 0


def test_a_list_that_changes_is_read_again_with_its_file(net: Pair, tmp_path: Path) -> None:
    """The rules stay as they are, and what they mean does not: a list that is put in the place of the old one, too."""
    path, networks = tmp_path / "rules.toml", tmp_path / "blocked.txt"
    write(path, '[[rule]]\naction = "drop"\nsrc_file = "blocked.txt"\n')
    write(networks, "192.0.2.1\n")
    with filtering(net, "--rules", str(path), "--watch", "--every", "100ms", "--format", "json") as process:
        write(networks, "192.0.2.1\n10.0.0.0/8\n")
        assert said(process, "replaced").endswith("1 rule: 0 kept, 1 new, 1 removed\n")
        net.send(frame(net, "10.0.0.1", 9), count=7)
        networks.unlink()
        assert "blocked.txt: no such file" in said(process, "stay")
        output = ended(process)
    assert counts(output)["src 192.0.2.1,10.0.0.0/8"] == (7, 7)
