"""The environment over the file, the command line over both; OpenTelemetry's variables; what a reload changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sonde.agent.config import Changes, Config, difference, load_config
from sonde.agent.config.address import Address
from sonde.agent.config.catalogue import all_keys
from sonde.agent.config.environment import NOT_OURS, variable
from sonde.agent.config.opentelemetry import OTHERS, VARIABLES
from sonde.errors import ConfigError


def problems(environment: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(None, environment, overrides)
    return [str(each) for each in caught.value.problems]


def test_each_layer_goes_before_the_one_below(tmp_path: Path) -> None:
    path = tmp_path / "sonde.toml"
    path.write_text("interval = '2s'\nseries.max = 2\n[log]\nlevel = 'debug'\n[otlp]\ntimeout = '2s'\n")
    environment = {
        "OTEL_LOG_LEVEL": "error",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3000",
        "SONDE_OTLP_TIMEOUT": "4s",
        "SONDE_SERIES_MAX": "4",
    }
    config = load_config(str(path), environment, {"series.max": "5"})
    assert config.interval_s == 2.0, "the file goes before the default"
    assert config.log.level == "error", "OpenTelemetry's variable goes before the file"
    assert config.otlp.timeout_s == 4.0, "sonde's variable goes before OpenTelemetry's"
    assert config.series.max == 5, "the command line goes before all"


def test_every_key_has_a_variable_of_its_own() -> None:
    keys = all_keys()
    names = {variable(path) for path in keys}
    assert len(names) == len(keys)
    assert not any(NOT_OURS.fullmatch(name) for name in names)


def test_every_kind_of_value_is_read_from_text() -> None:
    config = load_config(
        None,
        {
            "SONDE_INTERVAL": "1m",
            "SONDE_RESOURCE": "service.name=shop,note=a%2Cb%20c",
            "SONDE_SERIES_BY": "pid, user",
            "SONDE_PROBES_SYSCALLS_OUTPUT": "latency,calls",
            "SONDE_PROBES_SYSCALLS_SYSCALL": "openat,read",
            "SONDE_PROBES_SYSCALLS_ERRORS": "yes",
            "SONDE_PROBES_SYSCALLS_SAMPLE": "7",
            "SONDE_OTLP_HEADERS": "Tenant=me",
            "SONDE_PROMETHEUS_LISTEN": "off",
            "SONDE_FILE_PATH": "-",
            "SONDE_FILE_LOGS": "0",
            "SONDE_FILE_ROTATE_SIZE": "64KiB",
            "SONDE_BUDGET_CPU": "0.5%",
        },
    )
    assert config.interval_s == 60.0
    assert config.resource == {"service.name": "shop", "note": "a,b c"}
    assert config.series.by == ("pid", "user")
    runs = [run for run in config.runs if run.probe == "syscalls"]
    assert [run.output for run in runs] == ["latency", "calls"]
    assert runs[0].values == {"syscall": ("openat", "read"), "errors": True, "sample": 7}
    assert config.otlp.headers == {"tenant": "me"}
    assert config.exporters == ("file",)
    assert not config.file.logs
    assert config.budget.cpu == 0.005


def test_an_empty_variable_is_as_one_that_is_not_set() -> None:
    assert load_config(None, {"SONDE_INTERVAL": "", "OTEL_EXPORTER_OTLP_TIMEOUT": ""}) == load_config(
        None, {}
    )


def test_what_kubernetes_tells_of_a_service_is_no_mistake() -> None:
    """A service that is named sonde, or sonde-agent, gives each pod of its namespace such variables."""
    environment = {
        "SONDE_SERVICE_HOST": "10.0.0.1",
        "SONDE_SERVICE_PORT": "9464",
        "SONDE_SERVICE_PORT_METRICS": "9464",
        "SONDE_PORT": "tcp://10.0.0.1:9464",
        "SONDE_PORT_9464_TCP": "tcp://10.0.0.1:9464",
        "SONDE_PORT_9464_TCP_ADDR": "10.0.0.1",
        "SONDE_AGENT_SERVICE_HOST": "10.0.0.2",
        "SONDE_AGENT_PORT": "tcp://10.0.0.2:9464",
    }
    assert load_config(None, environment) == load_config(None, {})


def test_another_variable_of_ours_is_a_mistake() -> None:
    (only,) = problems({"SONDE_OTLP_ENDPOIN": "http://x:4318"})
    assert only.startswith(
        "environment: SONDE_OTLP_ENDPOIN: there is no such variable: did you mean SONDE_OTLP_ENDPOINT"
    )


def test_opentelemetrys_variables_set_what_they_say() -> None:
    config = load_config(
        None,
        {
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,deployment.environment.name=test%20bed",
            "OTEL_METRIC_EXPORT_INTERVAL": "30000",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://all:4318",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%3Db",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.pem",
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/client.pem",
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/key.pem",
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://logs:4318/v1/logs",
            "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "tenant=me",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "Delta",
            "OTEL_EXPORTER_PROMETHEUS_HOST": "::1",
            "OTEL_EXPORTER_PROMETHEUS_PORT": "9999",
        },
    )
    assert config.resource == {"service.name": "shop", "deployment.environment.name": "test bed"}
    assert config.otlp.interval_s == 30.0
    assert config.otlp.temporality == "delta"
    assert config.prometheus.listen == Address("::1", 9999)
    metrics, logs = config.otlp.delivery("metrics"), config.otlp.delivery("logs")
    assert metrics is not None
    assert logs is not None
    assert (metrics.endpoint, metrics.protocol, metrics.timeout_s) == ("http://all:4318", "grpc", 2.5)
    assert (metrics.certificate, metrics.client_certificate, metrics.client_key) == (
        "/ca.pem",
        "/client.pem",
        "/key.pem",
    )
    assert metrics.headers == {"api-key": "a=b"}
    assert (logs.endpoint, logs.is_whole_url, logs.protocol) == (
        "http://logs:4318/v1/logs",
        True,
        "http/protobuf",
    )
    assert logs.headers == {"api-key": "a=b", "tenant": "me"}


def test_exporters_are_chosen_by_opentelemetrys_names() -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://all:4318"}
    assert load_config(None, endpoint).exporters == ("otlp", "prometheus")
    assert (
        load_config(None, {**endpoint, "OTEL_METRICS_EXPORTER": "prometheus"}).otlp.delivery("metrics")
        is None
    )
    both = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    assert load_config(None, {**endpoint, **both}).exporters == ()
    assert load_config(None, {**endpoint, "OTEL_SDK_DISABLED": "true"}).exporters == ()
    assert load_config(None, {**endpoint, "OTEL_SDK_DISABLED": "yes"}).exporters == ("otlp", "prometheus")
    (only,) = problems({"OTEL_METRICS_EXPORTER": "console"})
    assert (
        only
        == "environment: OTEL_METRICS_EXPORTER: there is no exporter 'console': valid: otlp, prometheus, none"
    )


def test_otlp_by_name_goes_to_the_specifications_endpoint(tmp_path: Path) -> None:
    """Without it an agent that is told to send OTLP would send nothing anywhere."""
    asked = {"OTEL_METRICS_EXPORTER": "otlp"}
    assert load_config(None, asked).otlp.endpoint == "http://localhost:4318"
    by_grpc = {**asked, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert load_config(None, by_grpc).otlp.endpoint == "http://localhost:4317"
    assert load_config(None, {}).otlp.endpoint == ""
    path = tmp_path / "sonde.toml"
    path.write_text('[otlp]\nendpoint = "http://there:4318"\n')
    assert load_config(str(path), asked).otlp.endpoint == "http://there:4318"


@pytest.mark.parametrize(
    ("text", "environment", "metrics", "logs"),
    [
        ("[otlp]\nprotocol = 'grpc'", {}, "http://localhost:4317", "http://localhost:4317"),
        (
            "",
            {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc"},
            "http://localhost:4317",
            "http://localhost:4318",
        ),
        (
            "[otlp]\nprotocol = 'grpc'\n[otlp.logs]\nprotocol = 'http/protobuf'",
            {},
            "http://localhost:4317",
            "http://localhost:4318/v1/logs",
        ),
    ],
    ids=["the file's protocol", "a signal's protocol", "a signal's protocol in the file"],
)
def test_the_default_endpoint_is_of_the_protocol(
    tmp_path: Path, text: str, environment: dict[str, str], metrics: str, logs: str
) -> None:
    path = tmp_path / "sonde.toml"
    path.write_text(text)
    config = load_config(str(path), {"OTEL_METRICS_EXPORTER": "otlp", **environment})
    assert config.warnings == ()
    found = [config.otlp.delivery(signal) for signal in ("metrics", "logs")]
    assert [each.endpoint for each in found if each is not None] == [metrics, logs]


def test_otlp_may_be_sent_more_often_than_all_else() -> None:
    """Then tables are read so often, and the file is written as often as before."""
    environment = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_METRIC_EXPORT_INTERVAL": "1000"}
    config = load_config(None, environment, {"file.path": "-"})
    assert config.read_interval_s == 1.0
    assert (config.pace_s("otlp"), config.pace_s("file"), config.pace_s("prometheus")) == (None, 5.0, None)


def test_a_file_that_is_written_less_often_for_that_is_said() -> None:
    config = config_with(otlp__endpoint="http://a:4318", otlp__interval="4s", file__path="-")
    (warning,) = config.warnings
    assert warning.startswith("interval: 5s is no multiple of 4s")
    assert warning.endswith("metrics are written every 8s")


@pytest.mark.parametrize(("interval", "pace_s", "said"), [("7s", 7.0, 1), ("15s", 15.0, 0), ("5s", None, 0)])
def test_or_less_often(interval: str, pace_s: float | None, said: int) -> None:
    """Metrics are handed on when they are read: what is no multiple of that is rounded, and said to be."""
    config = config_with(otlp__endpoint="http://a:4318", otlp__interval=interval)
    assert (config.read_interval_s, config.pace_s("otlp")) == (5.0, pace_s)
    assert len(config.warnings) == said
    assert all("metrics are sent every 10s" in warning for warning in config.warnings)


@pytest.mark.parametrize("name", [*VARIABLES, *(name for name in OTHERS if name != "OTEL_SDK_DISABLED")])
def test_each_of_opentelemetrys_variables_is_checked(name: str) -> None:
    """Bytes that are no UTF-8 are right for none of them; a secret is not told."""
    (said,) = problems({name: "\udcff\n"})
    assert said.startswith("environment: ")
    assert said.isprintable()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"OTEL_EXPORTER_OTLP_TIMEOUT": "10s"},
            "OTEL_EXPORTER_OTLP_TIMEOUT: '10s' is wrong: give milliseconds",
        ),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL: there is no protocol"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "hush"}, "OTEL_EXPORTER_OTLP_HEADERS: one has no =: give name=value"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "hu sh=x"}, "OTEL_EXPORTER_OTLP_HEADERS: it is wrong: give headers"),
        (
            {"OTEL_EXPORTER_OTLP_HEADERS": "tenant=hush%C3%A9"},
            "OTEL_EXPORTER_OTLP_HEADERS: number 1 is wrong: give a text of one line, in ASCII",
        ),
        (
            {"OTEL_EXPORTER_PROMETHEUS_PORT": "http"},
            "OTEL_EXPORTER_PROMETHEUS_PORT: '127.0.0.1:http' is wrong",
        ),
        (
            {"OTEL_EXPORTER_PROMETHEUS_HOST": "0.0.0.0"},
            "OTEL_EXPORTER_PROMETHEUS_HOST: 0.0.0.0:9464 is reached from",
        ),
        ({"SONDE_PROMETHEUS_TOKEN": "hush hush"}, "SONDE_PROMETHEUS_TOKEN: it is wrong: give one word"),
        ({"SONDE_INTERVAL": "0"}, "SONDE_INTERVAL: '0' is wrong: give a time from 100ms to 1h"),
        (
            {"SONDE_PROBES_SYSCALLS_SAMPLE": "x"},
            "SONDE_PROBES_SYSCALLS_SAMPLE: 'x' is ",
        ),
    ],
)
def test_a_variable_that_is_wrong_is_told(environment: dict[str, str], said: str) -> None:
    (only,) = problems(environment)
    assert only.startswith(f"environment: {said}")
    assert "hush" not in only


def test_the_command_line_is_told_by_its_key() -> None:
    assert problems({}, {"otlp.endpont": "x", "interval": "soon", "series.max": True}) == [
        "command line: otlp.endpont: there is no such key: did you mean otlp.endpoint?",
        "command line: interval: 'soon' is wrong: give a time from 100ms to 1h, as 500ms or 5s",
        "command line: series.max: true is wrong: give a whole number from 1 to 1000000",
    ]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("resource.team", "resource is a key itself, with none below it: give attributes, a table"),
        ("interval.a.b", "interval is a key itself, with none below it: give a time from 100ms to 1h"),
        ("otlp.headers.token", "otlp.headers is a key itself, with none below it: give headers"),
        ("otlp", "it is a section: give one of its keys: endpoint, protocol, "),
        ("probes.syscalls", "it is a section: give one of its keys: enabled, output, "),
        ("otpl.endpoint", "there is no such section: did you mean otlp?"),
        ("probes.nothing.pid", "there is no such probe: valid: cpu, "),
        ("a.b.c", "there is no such section: valid: series, otlp, "),
    ],
)
def test_a_key_that_leads_nowhere_is_told_as_far_as_it_leads(key: str, said: str) -> None:
    (only,) = problems({}, {key: "1"})
    assert only.startswith(f"command line: {key}: {said}")


def test_the_other_protocols_port_is_a_warning() -> None:
    config = load_config(None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://there:4317"})
    assert len(config.warnings) == 2
    assert config.warnings[0].endswith('mostly for grpc: perhaps otlp.protocol = "grpc"')
    assert not load_config(None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://there:43170"}).warnings


@pytest.mark.parametrize(
    ("variable", "endpoint", "said"),
    [
        ("ENDPOINT", "http://there:4318/v1/metrics", "otlp.endpoint: /v1/metrics is added to http://there:4318/v1/metrics"),
        ("METRICS_ENDPOINT", "http://there:4318", "otlp.metrics.endpoint: nothing is added to http://there:4318: most receivers"),
        ("METRICS_ENDPOINT", "http://there:4318/v1/metrics", ""),
        ("ENDPOINT", "http://there:8428/opentelemetry", ""),
    ],
)  # fmt: skip
def test_a_path_twice_or_not_at_all_is_a_warning(variable: str, endpoint: str, said: str) -> None:
    """An endpoint for all signals is a place below which each has its own, a signal's own endpoint is the address."""
    warnings = load_config(None, {f"OTEL_EXPORTER_OTLP_{variable}": endpoint}).warnings
    assert [each[: len(said)] for each in warnings] == ([said] if said else [])


def config_with(**overrides: Any) -> Config:
    return load_config(None, {}, {name.replace("__", "."): value for name, value in overrides.items()})


def test_what_is_the_same_stays() -> None:
    one = config_with(otlp__endpoint="http://a:4318")
    found = difference(one, config_with(otlp__endpoint="http://a:4318"))
    assert not found
    assert found.exporters == Changes(kept=("otlp", "prometheus"))
    assert found.runs.kept == tuple(run.name for run in one.runs)


def test_a_reload_touches_only_what_has_changed() -> None:
    old = config_with(otlp__endpoint="http://a:4318", file__path="-")
    new = config_with(
        otlp__endpoint="http://a:4318",
        otlp__headers={"tenant": "me"},
        prometheus__listen="off",
        probes__syscalls__output=["counts", "latency"],
        interval="9s",
        budget__cpu="off",
        process__user="nobody",
    )
    found = difference(old, new)
    assert found.exporters == Changes(stopped=("prometheus", "file"), restarted=("otlp",))
    assert found.runs.started == ("syscalls.latency",)
    assert "syscalls.counts" in found.runs.kept
    assert found.sections == ("interval_s", "budget")
    assert found.needs_restart == ("process.user",)


def test_a_knob_restarts_its_run_alone() -> None:
    both = ["counts", "latency"]
    old = config_with(probes__syscalls__output=both)
    new = config_with(probes__syscalls__output=both, probes__syscalls__errors=True)
    found = difference(old, new)
    assert found.runs.restarted == ("syscalls.latency",)
    assert "syscalls.counts" in found.runs.kept
    assert found.runs.started == found.runs.stopped == ()


def test_files_that_nobody_finds_are_likely_mistakes(tmp_path: Path) -> None:
    """They are read again while the agent runs, so they may come; what another user may not look for may be there."""
    there = tmp_path / "ca.crt"
    there.touch()
    config = load_config(
        None,
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://there:4318",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(there),
            "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE": f"{tmp_path}/other.crt",
            "SONDE_PROMETHEUS_TOKEN_FILE": f"{there}/token",
        },
    )
    assert config.warnings == (
        f"otlp.logs.certificate: there is no file {tmp_path}/other.crt",
        f"prometheus.token_file: there is no file {there}/token",
    )
    assert not load_config(None, {"SONDE_OTLP_CERTIFICATE": "/nowhere"}).warnings
