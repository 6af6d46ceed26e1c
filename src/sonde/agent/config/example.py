"""A whole configuration with its comments, made of the keys themselves."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from sonde.agent.config.environment import variable
from sonde.agent.config.key import Key, Path, dotted
from sonde.agent.config.kind import Pairs
from sonde.agent.config.sheet import Section, is_free, sections, written

WIDTH = 100
HEAD = f"""\
# sonde's configuration: every key with its default; what is unset has an example behind #.
# A file holds only what it changes. A variable of the environment goes before the file: otlp.endpoint is
# {variable(("otlp", "endpoint"))}; OpenTelemetry's variables (OTEL_…) are read, too. The command line goes before both.
# Times are written as 500ms, 5s, 2m, 1h; sizes as 100MB, 64KiB."""


def example() -> str:
    """Write the file."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield HEAD
    for section in sections():
        yield ""
        if section.path:
            yield from _comment(section.text)
            yield f"[{dotted(section.path)}]"
        yield from _keys(section)


def _keys(section: Section) -> Iterator[str]:
    for path, key in section.keys.items():
        if is_free(path, key):
            yield from (f"#{line}" for line in _pairs(key))
            continue
        yield from _comment(key.text)
        default = written(key)
        yield f"{path[-1]} = {default}" if default else f"#{path[-1]} = {_example_of(path, key)}"


def _pairs(key: Key) -> Iterator[str]:
    """Write an inline table as lines of a section."""
    import tomllib

    assert isinstance(key.kind, Pairs)
    table = tomllib.loads(f"x = {key.example}")["x"]
    for name, value in table.items():
        yield f"{Pairs.write(key.kind, {name: value})[2:-2]}"


def _example_of(path: Path, key: Key) -> str:
    # The same key of several sections has one example.
    return key.example.replace("SIGNAL", path[-2]) if len(path) > 1 else key.example


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
