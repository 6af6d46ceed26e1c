"""Whatever a file or the environment holds: a configuration, or sentences; never another error, never a broken line."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sonde.agent.config import Config, load_config
from sonde.agent.config.catalogue import all_keys
from sonde.agent.config.environment import variable
from sonde.agent.config.example import example as whole_example
from sonde.agent.config.key import dotted
from sonde.agent.config.opentelemetry import OTHERS, VARIABLES
from sonde.agent.config.report import report_lines
from sonde.errors import ConfigError
from sonde.views.line import plain

EXAMPLE = whole_example().encode()
NAMES = sorted({variable(path) for path in all_keys()} | set(VARIABLES) | set(OTHERS))
KEYS = sorted(dotted(path) for path in all_keys())


def outcome(content: bytes, environment: dict[str, str]) -> Config | ConfigError:
    """Load it, and look at every line that a person would see."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sonde.toml")
        path.write_bytes(content)
        path.chmod(0o600)
        try:
            config = load_config(str(path), environment)
        except ConfigError as error:
            for problem in error.problems:
                assert str(problem).isprintable()
            return error
    for line in report_lines(config):
        assert plain(line).isprintable()
    return config


values = st.recursive(
    st.text(max_size=12).map(
        lambda text: '"' + text.encode("unicode_escape").decode().replace('"', "'") + '"'
    )
    | st.integers(-(2**70), 2**70).map(str)
    | st.floats().map(repr)
    | st.sampled_from(
        ["true", "false", "1979-05-27T07:32:00Z", "07:32:00", "'5s'", "'1%'", "'off'", "'pid'", "''"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(["a", "'b c'", "pid"]), inner, max_size=2).map(
            lambda table: f"{{ {', '.join(f'{key} = {value}' for key, value in table.items())} }}"
        )
    ),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), values, min_size=1, max_size=6))
def test_any_value_for_any_key(table: dict[str, str]) -> None:
    outcome("\n".join(f"{key} = {value}" for key, value in table.items()).encode(), {})


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(EXAMPLE)),
    st.integers(0, 40),
    st.binary(max_size=12)
    | st.sampled_from([b"\n[", b"#", b'"""', b"'''", b"= {", b"\x1b[2J", b"\xe2\x80\xae", b"\0"]),
)
@example(0, 0, b"")
def test_an_example_that_somebody_has_typed_into(at: int, removed: int, typed: bytes) -> None:
    outcome(EXAMPLE[:at] + typed + EXAMPLE[at + removed :], {})


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=16).map(os.fsdecode), min_size=1, max_size=4)
)
@example({"SONDE_PROBES_DROPS_NETNS": "\x01"})
def test_any_bytes_in_any_variable(environment: dict[str, str]) -> None:
    # A variable cannot hold a NUL.
    outcome(b"", {name: text.replace("\0", "") for name, text in environment.items()})


def test_what_it_must_find_wrong_is_found() -> None:
    assert isinstance(outcome(b"interval = '5s'", {}), Config)
    assert isinstance(outcome(b"interval = 5s", {}), ConfigError)
