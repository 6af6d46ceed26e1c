"""How the command line starts, helps, and says what it does not understand: none of it needs a kernel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import sonde as package

ROOT = Path(package.__file__).parent

COMMANDS = sorted(path.stem for path in (ROOT / "cli" / "commands").glob("[a-z]*.py"))
PROBES = sorted(path.parent.name for path in (ROOT / "probes").glob("[a-z]*/probe.py"))
HEAVY = ("numpy", "rich", "msgspec", "sonde._libbpf")


def python(code: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **more}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )


def sonde(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sonde", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **more},
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["top", "--help"], ["top", "syscalls", "--help"], ["trace", "syscalls", "--help"],
     ["hist", "syscalls", "--help"], ["load", "--help"], ["list", "--help"], ["doctor", "--help"], ["completion", "bash"], ["record", "--help"], ["record", "syscalls", "--help"],
     ["report", "--help"]],
)  # fmt: skip
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """NumPy alone takes longer than all of the command line."""
    run = python(
        "import sys\n"
        "from sonde.cli import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit as end:\n"
        f"    print('loaded', end.code, [name for name in {HEAVY!r} if name in sys.modules])\n"
    )

    assert run.stdout.splitlines()[-1] == "loaded 0 []", run.stdout + run.stderr


@pytest.mark.parametrize(
    "command", ["top", "trace", "hist", "load", "list", "doctor", "completion", "record", "report"]
)
def test_the_help_of_every_command_has_an_example(command: str) -> None:
    run = sonde(command, "--help")

    assert run.returncode == 0
    assert f"sonde {command}" in run.stdout.partition("Examples:")[2]


def test_commands_are_found_by_walking_their_folder() -> None:
    listed = sonde("--help").stdout.partition("Commands:")[2].partition("Examples:")[0]

    assert [line.split()[0] for line in listed.splitlines() if re.match(r"  \S", line)] == COMMANDS


def test_a_probes_knobs_are_flags_of_its_verbs() -> None:
    from sonde.probes import probe

    text = sonde("top", "syscalls", "--help").stdout
    declared = probe("syscalls")
    shown = {output.name for output in declared.tables}

    for knob in declared.knobs:
        assert (f"{knob.flag} " in text) == (not knob.outputs or bool(shown & set(knob.outputs))), knob.name


def test_the_version_is_the_packages() -> None:
    run = sonde("--version")

    assert (run.returncode, run.stdout) == (0, f"sonde {version('sonde')}\n")


def test_on_another_system_one_sentence_and_status_2() -> None:
    run = python("import sys; sys.platform = 'darwin'; from sonde.cli import main; main(['top', 'syscalls'])")

    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "sonde: this is darwin: eBPF is part of Linux, run sonde there\n"


MISUSES = {
    ("tpo",): f"sonde: there is no command 'tpo': did you mean top? valid: {', '.join(COMMANDS)}",
    ("--verbose",): "sonde: there is no option --verbose",
    (
        "top",
        "syscals",
    ): f"sonde top: there is no probe 'syscals': did you mean syscalls? valid: {', '.join(PROBES)}",
    (
        "top",
        "--for",
        "5s",
        "syscalls",
    ): "sonde top: options come behind the probe: sonde top syscalls --for 5s",
    (
        "top",
        "syscalls",
        "--for",
        "5x",
    ): "sonde top syscalls: --for: '5x' is no duration: write 500ms, 5s, 2m or 1h",
    (
        "top",
        "syscalls",
        "--for",
        "0",
    ): "sonde top syscalls: --for: '0' is no time: it has to be above 0, as 500ms or 5s",
    (
        "top",
        "syscalls",
        "--sort",
        "cont",
    ): "sonde top syscalls: --sort: there is no column 'cont': did you mean count?",
    (
        "top",
        "syscalls",
        "--format",
        "yaml",
    ): "sonde top syscalls: --format: there is no format 'yaml': valid: table, json, csv",
    (
        "top",
        "syscalls",
        "--fro",
        "5s",
    ): "sonde top syscalls: there is no option --fro: did you mean --errors or --for",
    (
        "top",
        "syscalls",
        "--limit",
        "-1",
    ): "sonde top syscalls: --limit: '-1' is no number of rows: give one from 0 on",
    ("top", "syscalls", "--every"): "sonde top syscalls: option '--every' requires an argument",
    ("top", "syscalls", "--children"): "sonde top syscalls: --children goes with --pid",
    ("top", "syscalls", "--"): "sonde top syscalls: -- is followed by no command",
    (
        "top",
        "syscalls",
        "ls",
    ): "sonde top syscalls: there is no place for 'ls': a command to measure goes behind --",
    (
        "top",
        "syscalls",
        "--pid",
        "1",
        "--",
        "ls",
    ): "sonde top syscalls: --pid and a command behind -- exclude each other",
    (
        "profile",
        "cpu",
        "-p",
        "1",
        "--pid=2",
    ): "sonde profile cpu: --pid is there 2 times: give one; several processes have",
    (
        "record",
        "cpu",
        "-o",
        "x",
        "--comm=a",
        "--comm",
        "b",
    ): "sonde record cpu: --comm is there 2 times: give one",
    (
        "profile",
        "cpu",
        "-p",
        "1,2",
    ): "sonde profile cpu: --pid: '1,2' is several processes: give one; several processes have",
    (
        "top",
        "syscalls",
        "--count-only",
        "--errors",
    ): "sonde top syscalls: --count-only and --errors cannot be had here",
    (
        "top",
        "syscalls",
        "--min-latency",
        "1ms",
    ): "sonde top syscalls: --min-latency cannot be had here: it is for sonde trace syscalls",
    ("top", "syscalls", "--sample", "x"): "sonde top syscalls: --sample: 'x' is no sample",
    (
        "top",
        "syscalls",
        "--sample",
        "0",
    ): "sonde top syscalls: --sample: '0' is no sample: give a number from 1 on",
    ("trace", "syscalls", "--rate-max", "x"): "sonde trace syscalls: --rate-max: 'x' is no number of records",
    (
        "hist",
        "syscalls",
        "--by",
        "cmm",
    ): "sonde hist syscalls: --by: there is no column 'cmm': did you mean comm?",
    ("hist", "syscalls", "--count-only"): "sonde hist syscalls: there is no option --count-only",
    ("load",): "sonde load: FILE is missing: see sonde load --help",
    ("record", "syscalls"): "sonde record syscalls: --output is missing: see sonde record syscalls --help",
    ("load", "a.o", "b.o"): "sonde load: there is no place for 'b.o': a command to measure goes behind --",
    ("load", "a.o", "--set", "x"): "sonde load: --set: 'x' is no assignment: give --set KNOB=VALUE",
    (
        "load",
        "a.o",
        "--attach",
        "p",
    ): "sonde load: --attach: 'p' is no assignment: give --attach PROGRAM=HOOK",
    ("profile", "cpu", "-o", "x.svg", "--limit", "3"): "sonde: --limit: it does not go with --format svg",
    (
        "profile",
        "cpu",
        "--frequency",
        "0",
    ): "sonde profile cpu: --frequency: '0' is no frequency: give 1 to 999",
    (
        "profile",
        "--pid",
        "1",
        "cpu",
    ): "sonde profile: options come behind the probe: sonde profile cpu --pid 1",
    ("completion", "tcsh"): "sonde completion: SHELL: there is no shell 'tcsh': valid: bash, zsh, fish",
}


@pytest.mark.parametrize("arguments", MISUSES, ids=" ".join)
def test_a_misuse_is_one_sentence_with_the_valid_values_and_status_2(arguments: tuple[str, ...]) -> None:
    run = sonde(*arguments)

    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(MISUSES[arguments])
    assert run.stderr.count("\n") == 1


def test_without_a_command_the_help_is_shown_and_the_status_is_2() -> None:
    run = sonde()

    assert (run.returncode, run.stdout) == (2, "")
    assert "Usage: sonde" in run.stderr


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("bash", "complete -o nosort -F _sonde_completion sonde"),
        ("zsh", "#compdef sonde"),
        ("fish", "complete --no-files --command sonde"),
    ],
)
def test_completion_scripts_are_clicks_own(shell: str, words: str) -> None:
    run = sonde("completion", shell)

    assert run.returncode == 0
    assert words in run.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("sonde t", ["top", "trace"]),
        ("sonde top ", PROBES),
        ("sonde record sysc", ["syscalls", "syscalls.latency", "syscalls.counts", "syscalls.calls"]),
        ("sonde report x --view ", ["top", "trace", "hist", "profile"]),
        ("sonde top syscalls --so", ["--sort"]),
        ("sonde top syscalls --format c", ["csv"]),
        ("sonde trace syscalls --min", ["--min-latency"]),
    ],
)
def test_words_are_completed(typed: str, offered: list[str]) -> None:
    words = typed.split()
    at = len(words) - (0 if typed.endswith(" ") else 1)
    run = sonde(_SONDE_COMPLETE="bash_complete", COMP_WORDS=typed, COMP_CWORD=str(at))

    assert [line.partition(",")[2] for line in run.stdout.splitlines()] == offered


def test_an_interrupt_while_it_starts_is_no_traceback() -> None:
    run = python(
        "import os, signal, sys\n"
        "from sonde.cli import main\n"
        "import sonde.cli.root as root\n"
        "root.root.main = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)\n"
        "main(['top', 'syscalls'])\n"
    )

    assert (run.returncode, run.stderr) == (130, "")
