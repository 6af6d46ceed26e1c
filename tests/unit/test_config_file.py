"""The agent's configuration file: what it says, and everything that is wrong with it, with its line."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from sonde.agent.config import Config, load_config
from sonde.agent.config.address import Address
from sonde.errors import ConfigError


def written(tmp_path: Path, text: str | bytes, mode: int = 0o600) -> str:
    path = tmp_path / "sonde.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return str(path)


def loaded(tmp_path: Path, text: str, **overrides: Any) -> Config:
    return load_config(written(tmp_path, text), {}, overrides)


def problems(path: str, environment: dict[str, str] | None = None) -> list[str]:
    """Load what cannot be, and give its problems without the folder."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, environment or {})
    return [str(each).replace(os.path.dirname(path) + "/", "") for each in caught.value.problems]


def problem(tmp_path: Path, text: str) -> str:
    (only,) = problems(written(tmp_path, text))
    return only


def test_without_a_file_the_defaults_hold() -> None:
    config = load_config(None, {})
    assert config.interval_s == 5.0
    assert config.prometheus.listen == Address("127.0.0.1", 9464)
    assert config.exporters == ("prometheus",)
    assert config.series.max == 2000
    assert config.budget.cpu == 0.05
    assert "syscalls.counts" in [run.name for run in config.runs]
    assert config.path == ""


def test_every_kind_of_value_is_read(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        """
        interval = "250ms"
        resource = { "service.name" = "shop", rank = 3, spare = false }
        [series]
        max = 7
        by = "pid"
        [probes.syscalls]
        output = ["counts", "calls"]
        syscall = ["openat", "read,write"]
        sample = 16
        min_latency = "10ms"
        max_entries = 512
        ring_size = "64KiB"
        rate_max = 0
        [otlp]
        endpoint = "https://receiver:4318/base"
        timeout = 3
        [otlp.logs]
        enabled = false
        [prometheus]
        listen = "[::1]:0"
        [file]
        path = "-"
        rotate_size = "1MiB"
        [budget]
        cpu = "off"
        """,
    )
    assert config.interval_s == 0.25
    assert config.resource == {"service.name": "shop", "rank": 3, "spare": False}
    assert config.series.by == ("pid",)
    counts, calls = [run for run in config.runs if run.probe == "syscalls"]
    assert counts.values == {"syscall": ("openat", "read", "write"), "sample": 16}
    assert (counts.max_entries, counts.rate_max) == (512, None)
    assert calls.values == {**counts.values, "min_latency": 10_000_000}
    assert (calls.max_entries, calls.rate_max) == (65536, None)
    metrics = config.otlp.delivery("metrics")
    assert metrics is not None
    assert (metrics.endpoint, metrics.timeout_s) == ("https://receiver:4318/base", 3.0)
    assert config.otlp.delivery("logs") is None
    assert config.prometheus.listen == Address("::1", 0)
    assert config.file.rotate_size_bytes == 1 << 20
    assert config.budget.cpu is None
    assert config.exporters == ("otlp", "prometheus", "file")


def test_attributes_with_dots_need_no_quotes(tmp_path: Path) -> None:
    """TOML makes tables of them, and no attribute is a table."""
    config = loaded(tmp_path, '[resource]\nservice.name = "shop"\nservice.version = "1"\n')
    assert config.resource == {"service.name": "shop", "service.version": "1"}


def test_a_signal_differs_from_the_others(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        """
        [otlp]
        endpoint = "http://one:4318"
        headers = { Authorization = "Bearer x" }
        [otlp.logs]
        endpoint = "http://two:4318/logs"
        headers = { tenant = "me" }
        compression = "none"
        """,
    )
    metrics, logs = config.otlp.delivery("metrics"), config.otlp.delivery("logs")
    assert metrics is not None
    assert logs is not None
    assert (metrics.endpoint, metrics.is_whole_url) == ("http://one:4318", False)
    assert metrics.headers == {"authorization": "Bearer x"}
    assert (logs.endpoint, logs.is_whole_url, logs.compression) == ("http://two:4318/logs", True, "none")
    assert logs.headers == {"authorization": "Bearer x", "tenant": "me"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nintervall = 5", "sonde.toml:2: intervall: there is no such key: did you mean interval?"),
        ("listen = 1", "sonde.toml:1: listen: there is no such key here: there is prometheus.listen"),
        (
            "[otlp]\n\n'end point' = ''",
            "sonde.toml:3: otlp.'end point': there is no such key: did you mean otlp.endpoint?",
        ),
        (
            "[probes.syscall]",
            "sonde.toml:1: probes.syscall: there is no such probe: did you mean probes.syscalls?",
        ),
        (
            "[probes.syscalls]\nsamples = 3",
            "sonde.toml:2: probes.syscalls.samples: there is no such key: did you mean probes.syscalls.sample?",
        ),
        (
            "interval = true",
            "sonde.toml:1: interval: true is wrong: give a time from 100ms to 1h, as 500ms or 5s",
        ),
        ("series = 5", "sonde.toml:1: series: 5 is wrong: it is a section: write [series]"),
        ("[[series]]", "sonde.toml:1: series: [{}] is wrong: it is a section: write [series]"),
        (
            "series.max = 0",
            "sonde.toml:1: series.max: 0 is wrong: give a whole number from 1 to 1000000",
        ),
        (
            "[series]\nby = ['unt']",
            "sonde.toml:2: series.by: there is no key of series 'unt': did you mean unit? valid:",
        ),
        (
            "[otlp]\nprotocol = 'http/json'",
            "sonde.toml:2: otlp.protocol: there is no protocol 'http/json': valid: http/protobuf, grpc",
        ),
        (
            "[otlp]\nendpoint = 'http://me:secret@there:4318'",
            "sonde.toml:2: otlp.endpoint: it holds a name or a password: give them as a header",
        ),
        (
            "[otlp]\nendpoint = 'receiver:4318'",
            "sonde.toml:2: otlp.endpoint: 'receiver:4318' is no URL: write http",
        ),
        (
            "[otlp]\nendpoint = 'ftp://there'",
            "sonde.toml:2: otlp.endpoint: 'ftp://there' is wrong: give a URL",
        ),
        (
            "[prometheus]\nlisten = '127.0.0.1'",
            "sonde.toml:2: prometheus.listen: '127.0.0.1' is wrong: give an addr",
        ),
        ("[prometheus]\nlisten = '[::1]:65536'", "sonde.toml:2: prometheus.listen: port 65536 cannot be"),
        (
            "[prometheus]\nlisten = '0.0.0.0:9464'",
            "sonde.toml:2: prometheus.listen: 0.0.0.0:9464 is reached from other machines: set prometheus.tls",
        ),
        (
            "[prometheus]\ntls_key = 'x'",
            "sonde.toml:2: prometheus.tls_key: it needs prometheus.tls_certificate, too",
        ),
        ("[budget]\ncpu = 0.01", "sonde.toml:2: budget.cpu: 0.01 is wrong: give a share of one core"),
        ("[budget]\ncpu = 'nan%'", "sonde.toml:2: budget.cpu: 'nan%' is wrong: give a share of one core"),
        (
            "[file]\nrotate_size = '5 apples'",
            "sonde.toml:2: file.rotate_size: '5 apples' is wrong: give a size",
        ),
        ('[file]\npath = "a\\u0000b"', "sonde.toml:2: file.path: 'a\\x00b' has control characters"),
        (
            "[log]\nlevel = 'warn'",
            "sonde.toml:2: log.level: there is no level 'warn': did you mean warning? valid:",
        ),
        (
            "[probes.syscalls]\noutput = 'count'",
            "sonde.toml:2: probes.syscalls.output: there is no output of syscalls 'count': did you mean counts?",
        ),
        (
            "[probes.syscalls]\nsyscall = 'openatt'",
            "sonde.toml:2: probes.syscalls.syscall: Linux on ",
        ),
        (
            "[probes.syscalls]\nsample = -1",
            "sonde.toml:2: probes.syscalls.sample: ",
        ),
        (
            "[probes.syscalls]\noutput = 'counts'\nerrors = true",
            "sonde.toml:3: probes.syscalls.errors: it goes with output latency or calls, and output is counts",
        ),
        ("[probes.syscalls]\nchildren = true", "sonde.toml:2: probes.syscalls.children: it goes with pid"),
        (
            "[probes.syscalls]\noutput = 'calls'\nring_size = 5000",
            "sonde.toml:3: probes.syscalls.ring_size: 5000 is wrong: give a power of two",
        ),
        (
            "[probes.syscalls]\ncomm = 'a-name-that-is-too-long'",
            "sonde.toml:2: probes.syscalls.comm: 'a-name-that-is-too-long' is wrong",
        ),
        (
            "[probes.syscalls]\ncgroup = '/nowhere'",
            "sonde.toml:2: probes.syscalls.cgroup: there is no cgroup '/nowhere'",
        ),
        ("interval = 1979-05-27", "sonde.toml:1: interval: datetime.date(1979, 5, 27) is wrong: give a time"),
        (
            "[process]\nuser = 'no-such-user'",
            "sonde.toml:2: process.user: there is no user 'no-such-user': make one with useradd",
        ),
        ("interval = inf", "sonde.toml:1: interval: inf is wrong: give a time"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert problem(tmp_path, text).startswith(said)


def test_all_problems_are_told_in_the_order_of_their_lines(tmp_path: Path) -> None:
    path = written(
        tmp_path, "[otlp]\nprotocol = 1\nspeed = 2\n[prometheus]\ntls_key = 'x'\n[file]\nmetrics = 3\n"
    )
    found = problems(path, {"SONDE_INTERVAL": "soon"})
    assert [each.split(": ")[:2] for each in found] == [
        ["sonde.toml:2", "otlp.protocol"],
        ["sonde.toml:3", "otlp.speed"],
        ["sonde.toml:5", "prometheus.tls_key"],
        ["sonde.toml:7", "file.metrics"],
        ["environment", "SONDE_INTERVAL"],
    ]


def test_lines_are_found_behind_texts_of_several_lines(tmp_path: Path) -> None:
    text = '[resource]\nnote = """\n[otlp]\nspeed = 1\n"""\n[series]\nby = [\n  "pid",\n]\nmaxx = 1\n'
    (first, second) = problems(written(tmp_path, text))
    assert first.startswith("sonde.toml:1: resource: the value of 'note' is wrong")
    assert second.startswith("sonde.toml:10: series.maxx: there is no such key: did you mean series.max?")


def test_a_key_may_be_written_in_any_way_that_toml_knows(tmp_path: Path) -> None:
    text = '\'series\' . "ma\\u0078" = 5\n[ probes . "syscalls" ]\nenabled = 1\n'
    assert problem(tmp_path, text).startswith("sonde.toml:3: probes.syscalls.enabled: 1 is wrong")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"interval = \n", "sonde.toml:1: column 12: no TOML: invalid value"),
        (b"a = 1\n\n[b\n", "sonde.toml:3: column 3: no TOML: expected ']'"),
        (b"interval = '5s'\ninterval = '5s'\n", "sonde.toml:2: column 16: no TOML: cannot overwrite a value"),
        (b"[otlp]\n[otlp]\n", "sonde.toml:2: column 6: no TOML: cannot declare [otlp] twice"),
        (b"[otlp.logs]\n[otlp.logs]\n", "sonde.toml:2: column 11: no TOML: cannot declare [otlp.logs] twice"),
        (b'a = "\x1b[2J"', "sonde.toml:1: column 6: no TOML: "),
        (b"x = 'abc", "sonde.toml:1: column end: no TOML: "),
        (b"a = 1\n# \xff\n", "sonde.toml:2: byte 0xff is no UTF-8"),
        (b"a = 1\nb\0c\n", "sonde.toml:2: it has a NUL byte"),
        (b"a = " + b"[" * 8_000, "sonde.toml: it is nested too deeply"),
        (b"a = " + b"9" * 5_000, "sonde.toml: "),
        (b"\n" + b"#" * 9_000, "sonde.toml:2: it is longer than 8,192 bytes"),
        (b"#\n" * 50_000, "sonde.toml: it has 100,000 bytes, and a configuration has 65,536 at most"),
    ],
)
def test_what_is_no_toml_is_one_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    (only,) = problems(written(tmp_path, content))
    assert only.startswith(said)
    assert only.isprintable()


def test_no_file_takes_long_to_refuse(tmp_path: Path) -> None:
    """Python's parser takes quadratic time for keys with many dots, and for many of them in one table."""
    worst = "\n".join(f"{'a.' * 4_090}b{n} = 1" for n in range(7))
    began = time.process_time()
    with pytest.raises(ConfigError):
        load_config(written(tmp_path, worst), {})
    assert time.process_time() - began < 60


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, b"\xef\xbb\xbfinterval = '1s'\r\n"), {}).interval_s == 1.0


def test_what_is_no_file_is_one_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert problems(str(tmp_path / "none")) == [
        "none: no such file or directory (ENOENT): sonde config example prints one to begin with"
    ]
    assert problems(str(tmp_path)) == [f"{tmp_path.name}: it is a directory: give a file"]
    assert problems(str(tmp_path / "fifo")) == [
        "fifo: it is no regular file, which could be read again: give a file"
    ]
    with pytest.raises(ConfigError, match="the path is empty"):
        load_config("", {})


def test_a_file_that_may_not_be_read_is_one_sentence(tmp_path: Path) -> None:
    path = written(tmp_path, "", mode=0)
    is_root = os.geteuid() == 0
    if is_root:  # who may read everything
        os.seteuid(65534)
    try:
        assert problems(path) == ["sonde.toml: permission denied (EACCES)"]
    finally:
        if is_root:
            os.seteuid(0)


def test_a_secret_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    text = "[prometheus]\ntoken = 'hush'\n"
    (only,) = problems(written(tmp_path, text, mode=0o644))
    assert only.startswith(
        "sonde.toml:2: prometheus.token: it is a secret, and everybody may read the file: run: chmod"
    )
    assert "hush" not in only
    assert load_config(written(tmp_path, text, mode=0o640), {}).prometheus.token == "hush"
    assert load_config(written(tmp_path, "interval = 1", mode=0o644), {}).interval_s == 1.0


def test_a_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    (only,) = problems(written(tmp_path, "", mode=0o666))
    assert only.startswith("sonde.toml: everybody may write it: run: chmod o-w")


def test_no_secret_is_in_a_message_or_a_repr(tmp_path: Path) -> None:
    text = """
    [otlp]
    endpoint = "http://there:4318"
    headers = { authorization = "Bearer hush" }
    [prometheus]
    token = "hush"
    """
    config = loaded(tmp_path, text)
    assert config.otlp.headers == {"authorization": "Bearer hush"}
    assert "hush" not in repr(config)
    assert "hush" not in repr(config.otlp.delivery("metrics"))
    for wrong in ("token = ['hush']", "token = 'hush hush'"):
        (only,) = problems(written(tmp_path, f"[prometheus]\n{wrong}"))
        assert "hush" not in only
    (only,) = problems(written(tmp_path, "[otlp]\nheaders = { a = 'hush\\nhush' }".replace("'", '"')))
    assert "hush" not in only


def test_a_probe_that_is_named_runs(tmp_path: Path) -> None:
    """Naming is wanting, unless it is said otherwise; those that run by themselves go on doing so."""
    by_default = {run.probe for run in load_config(None, {}).runs}
    without = loaded(tmp_path, "[probes.syscalls]\nenabled = false\n")
    assert {run.probe for run in without.runs} == by_default - {"syscalls"}
    named = loaded(tmp_path, "[probes.syscalls]\noutput = 'latency'\n")
    assert [run.name for run in named.runs if run.probe == "syscalls"] == ["syscalls.latency"]


def test_hostile_names_break_no_line(tmp_path: Path) -> None:
    text = '"\\u001b[2J\\n" = 1\n[resource]\n"\\u0007" = "x"\n[probes."\\u202e"]\n'
    for line in problems(written(tmp_path, text)):
        assert line.isprintable()
    with pytest.raises(ConfigError) as caught:
        load_config(f"{tmp_path}/\x1b[2J\n", {})
    assert str(caught.value).isprintable()
