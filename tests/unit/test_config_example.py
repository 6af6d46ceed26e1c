"""The example and the reference are made of the keys: what they say can be loaded, and is what holds."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from configuration_reference import GUIDE, updated
from sonde.agent.config import load_config
from sonde.agent.config.catalogue import all_keys
from sonde.agent.config.document import read_document
from sonde.agent.config.example import example
from sonde.agent.config.key import dotted
from sonde.agent.config.kind import Pairs
from sonde.agent.config.report import report, report_lines
from sonde.agent.config.series import BY
from sonde.agent.config.size import size_bytes, size_text
from sonde.enrich.who import ATTRIBUTES, DEFAULT
from sonde.views.line import plain


def test_the_example_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "sonde.toml"
    path.write_text(example())
    config = load_config(str(path), {})
    bare = load_config(None, {})
    assert [getattr(config, name) for name in ("runs", "probes", "otlp", "prometheus", "file")] == [
        getattr(bare, name) for name in ("runs", "probes", "otlp", "prometheus", "file")
    ]
    assert report(config) == {**report(bare), "file": str(path)}


def test_the_example_has_every_key_and_each_example_in_it_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "sonde.toml"
    # What is unset stands behind # without a blank; a cgroup of another machine's need not be here.
    text = re.sub(r"^#(?=\S)(?!cgroup =)", "", example(), flags=re.MULTILINE)
    path.write_text(text)
    path.chmod(0o600)
    layer = read_document(str(path), all_keys())
    assert [str(each) for each in layer.problems] == []
    found = {each.path for each in layer.settings}
    assert {path for path in all_keys() if path not in found and path[-1] != "cgroup"} == set()


def test_the_guides_reference_is_made_of_the_keys() -> None:
    """Else run: python tools/configuration_reference.py."""
    assert updated(GUIDE.read_text()) == GUIDE.read_text()


def test_series_are_made_by_what_is_known_of_processes() -> None:
    assert (BY, load_config(None, {}).series.by) == (tuple(ATTRIBUTES), DEFAULT)


def test_every_key_says_what_it_is() -> None:
    for path, key in all_keys().items():
        assert re.fullmatch(r"[A-Z-].*\.", key.text), dotted(path)
        has_default = key.default is not None and key.default not in ("", {}, ())
        assert has_default or key.example, f"{dotted(path)} has neither a default nor an example"
        if has_default and not isinstance(key.kind, Pairs):
            written = key.kind.write(key.default)
            assert key.kind.read(tomllib.loads(f"x = {written}")["x"]) == key.default, dotted(path)


def test_the_report_tells_what_would_run_and_no_secret() -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://there:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=hush",
        "SONDE_PROMETHEUS_TOKEN": "hush",
        "SONDE_FILE_PATH": "/tmp/a\x7fb".replace("\x7f", "b"),
        "SONDE_PROBES_SYSCALLS_OUTPUT": "counts,calls",
        "SONDE_PROBES_SYSCALLS_COMM": "\x1b[2J",
        "SONDE_PROBES_SYSCALLS_SYSCALL": "openat,read",
    }
    config = load_config(None, environment)
    text = "\n".join(plain(line) for line in report_lines(config))
    assert "hush" not in text + json.dumps(report(config))
    assert all(line.isprintable() for line in text.splitlines())
    for part in (
        "syscalls.counts",
        "syscalls.calls",
        "1,000 records in a second at most",
        "syscall openat,read",
        "metrics to http://there:4318/v1/metrics by http/protobuf, cumulative, headers authorization",
        "http://127.0.0.1:9464/metrics with a token",
        "metrics and logs to '/tmp/abb', 5 more of 100MB are kept",
        "2,000 of each metric, by executable, unit, container",
        "5% of one core",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("100MB", 100_000_000), ("64KiB", 65536), ("1.5 kB", 1500), ("2gib", 2 << 30), ("0", 0)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert size_bytes(text) == size
    assert size_bytes(size_text(size)) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1e400", "nan", "inf", "5 XB", "1_0 MB x", "0x10"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size: write 100MB"):
        size_bytes(text)
