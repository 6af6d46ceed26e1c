"""tidy finds what it is for, and is silent about what is well."""

from __future__ import annotations

from pathlib import Path

import pytest

import tidy

# In two parts, or this file would itself be found.
PROMISE = "TO" + "DO"
LICENCE = "/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, empty."""
    monkeypatch.setattr(tidy, "ROOT", tmp_path)
    return tmp_path


def fatal(project: Path, name: str, text: str) -> list[str]:
    """What fails lint about a file with this text."""
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return [finding.text for finding in tidy.source_findings(path) if finding.fatal]


def python_of(lines: int) -> str:
    return "def long() -> None:\n" + "    print()\n" * (lines - 1)


def c_of(lines: int) -> str:
    return LICENCE + "static int long_one(int a,\n\t\t    int b)\n{\n" + "\ta++;\n" * (lines - 4) + "}\n"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("src/map.py", python_of(70), []),
        ("src/map.py", python_of(71), ["long: 71 lines"]),
        ("src/map.py", "x = 1\n" * 800, []),
        ("src/map.py", "x = 1\n" * 801, ["801 lines"]),
        ("src/native.c", c_of(70), []),
        ("src/native.c", c_of(71), ["long_one: 71 lines"]),
        ("src/utils.py", "", ["utils says nothing: name it by what it does"]),
        ("src/common/map.py", "", ["common says nothing: name it by what it does"]),
        ("src/map.py", f"# {PROMISE}: later\n", ["a promise without an issue: write TODO(#12)"]),
        ("src/map.py", f"# {PROMISE}(#12): later\n", []),
        ("src/probes/x/probe.bpf.c", LICENCE, []),
        (
            "src/probes/x/probe.bpf.c",
            "/* SPDX-License-Identifier: MIT */\n",
            ["the first line lacks SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause"],
        ),
        ("src/native.c", "int x;\n", ["the first line lacks SPDX-License-Identifier: "]),
        ("src/_libbpf/decl/map.h", "int x;\n", []),
    ],
)
def test_what_is_wrong_is_found(project: Path, name: str, text: str, expected: list[str]) -> None:
    assert expected == fatal(project, name, text)


def test_a_docstring_does_not_make_a_function_long(project: Path) -> None:
    text = 'def long() -> None:\n    """One.\n' + "\n" * 30 + '    """\n' + "    print()\n" * 69
    assert [] == fatal(project, "src/map.py", text)


def test_a_probe_that_lacks_a_part_is_named(project: Path) -> None:
    folder = project / "src/sonde/probes/disk"
    folder.mkdir(parents=True)
    for part in ("probe.bpf.c", "probe.py", "README.md", "test_probe.py"):
        (folder / part).touch()
    assert ["the probe lacks workload.py"] == [finding.text for finding in tidy.probe_findings()]


def test_a_dependency_needs_a_reason(project: Path) -> None:
    (project / "docs").mkdir()
    (project / "docs/dependencies.md").write_text("| `numpy` | arrays |\n")
    (project / "pyproject.toml").write_text(
        '[project]\nname = "x"\ndependencies = ["numpy>=1", "left-pad"]\n'
        '[project.optional-dependencies]\ndev = ["right-pad>=2"]\n'
    )
    found = [finding.text for finding in tidy.dependency_findings()]
    assert ["no reason for left-pad", "no reason for right-pad"] == found
