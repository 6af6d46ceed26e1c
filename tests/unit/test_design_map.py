"""What the documents name is there: symbols, files, tests, commands and their options."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from sonde.cli import root

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "examples/README.md", *(
    f"docs/{name}" for name in ("design-map.md", "best-practices.md", "glossary.md", "guides/add-a-probe.md")
), *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs/adr").glob("*.md")))  # fmt: skip
MAP = ROOT / "docs/design-map.md"
SECTIONS = [
    *("1.1", "1.2", "1.3.1", "1.3.2", "1.3.3", "1.3.4", "1.3.5", "1.3.6", "1.4.1", "1.4.2", "1.4.3"),
    "Beyond",
]
FOLDERS = ("src/", "tests/", "docs/", "examples/", "benchmarks/", "tools/")
GUIDE_MAKES = ("src/sonde/probes/signals", "sonde top signals")
"""What the guide for a new probe makes, and only its reader has."""


def names_in(text: str) -> Iterator[str]:
    """What stands between backticks, outside of code blocks."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`([^`\n]+)`", prose)


def named(kind: str) -> list[tuple[str, str]]:
    """Every name of a kind, with the document it is in."""
    found = set()
    for document in DOCUMENTS:
        for name in names_in((ROOT / document).read_text()):
            if kind_of(name) == kind and not name.startswith(GUIDE_MAKES):
                found.add((document, name))
    return sorted(found)


def kind_of(name: str) -> str:
    if re.fullmatch(r"sonde(\.\w+)+(\(\))?", name) and not name.endswith(".bpf.o"):
        return "symbol"
    if re.match(r"(sonde|make|python -m)( |$)", name):
        return "command"
    if name.startswith(FOLDERS) and not re.search(r"[<>{*…A-Z]{4}", name):
        return "path"
    return "other"


# ---- symbols ------------------------------------------------------------------------------------------------


def resolve(name: str) -> Any:
    """Import as far as there are modules, then take attributes; those that ``__init__`` sets count."""
    parts = name.removesuffix("()").split(".")
    at = len(parts)
    while at and not _is_module(".".join(parts[:at])):
        at -= 1
    found: Any = importlib.import_module(".".join(parts[:at]))
    for part in parts[at:]:
        if not hasattr(found, part) and inspect.isclass(found) and f"self.{part}" in inspect.getsource(found):
            return None
        found = getattr(found, part)
    return found


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize(("document", "name"), named("symbol"))
def test_symbol_exists(document: str, name: str) -> None:
    resolve(name)


def test_a_symbol_that_is_not_there_would_be_found() -> None:
    for name in ("sonde.Collector.never", "sonde.never.Collector", "sonde.bpf.hooks.Never"):
        with pytest.raises((AttributeError, ModuleNotFoundError)):
            resolve(name)


# ---- files and tests ----------------------------------------------------------------------------------------


@functools.cache
def functions_of(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    return frozenset(
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize(("document", "name"), named("path"))
def test_path_exists(document: str, name: str) -> None:
    path, _, function = name.partition("::")
    assert (ROOT / path).exists(), f"{document} names {path}"
    if function:
        assert function in functions_of(ROOT / path), f"{document} names {name}"
        assert function.startswith("test_")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    place = ROOT / document
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", place.read_text()):
        if "://" not in target:
            assert (place.parent / target).exists(), f"{document} links to {target}"


# ---- commands -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("document", "name"), named("command"))
def test_command_exists(document: str, name: str) -> None:
    first, *words = name.split(" -- ")[0].split()
    if first == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[0] in targets
    elif first == "python":
        if words[1] not in ("ziglang", "kernel.compiled"):
            assert importlib.util.find_spec(words[1]) is not None
    elif words:
        _check_command(words)


def _check_command(words: list[str]) -> None:
    """Go down the commands as the words say, and look for the options."""
    command: click.Command = root.SONDE if hasattr(root, "SONDE") else _group()
    context = click.Context(command, info_name="sonde")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        below = command.get_command(context, words[0])
        if below is None:
            break
        command, words = below, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    options = _options(command, context)
    for word in words:
        if word.startswith("--"):
            assert word.split("=")[0] in options, f"{command.name} has no {word}"
        elif isinstance(command, click.Group):
            raise AssertionError(f"{command.name} has no {word}")


def _group() -> click.Group:
    (group,) = (each for each in vars(root).values() if isinstance(each, click.Group))
    return group


def _options(command: click.Command, context: click.Context) -> set[str]:
    """The options of a command, or of any below it: ``sonde top --every`` is of every probe's."""
    own = {option for each in command.get_params(context) for option in each.opts}
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            own |= _options(below, click.Context(below, info_name=name, parent=context))
    return own


def test_an_option_that_is_not_there_would_be_found() -> None:
    with pytest.raises(AssertionError):
        _check_command(["top", "syscalls", "--never"])
    with pytest.raises(AssertionError):
        _check_command(["never"])


# ---- the map itself -----------------------------------------------------------------------------------------


def rows_of(document: Path) -> list[tuple[str, list[str]]]:
    """Every row of every table, without its heading, under the heading before it; a figure of ``make bench`` is no rule."""
    rows, heading, in_table = [], "", False
    before, _, rest = document.read_text().partition("<!-- figures of `make bench` -->")
    for line in (before + rest.partition("<!-- end of figures -->")[2]).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if not line.startswith("|"):
            in_table = False
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if in_table and not set(line) <= set("|- "):
            rows.append((heading, cells))
        in_table = True
    return rows


def test_every_section_of_the_document_is_on_the_map() -> None:
    headings = [
        line.split()[1].lstrip("§") for line in MAP.read_text().splitlines() if line.startswith("## ")
    ]
    assert headings == SECTIONS


@pytest.mark.parametrize("document", ["docs/design-map.md", "docs/best-practices.md"])
def test_every_row_has_a_file_and_a_test(document: str) -> None:
    rows = rows_of(ROOT / document)
    assert len(rows) > 15
    for heading, cells in rows:
        kinds = {kind_of(name) for cell in cells for name in names_in(cell)}
        tests = [name for cell in cells for name in names_in(cell) if "test" in name.rpartition("/")[2]]
        assert "path" in kinds, f"{heading}: {cells[0]}"
        assert tests, f"{heading}: {cells[0]}"
