"""OpenTelemetry's own environment variables, and which keys of ours they set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sonde.agent.config.environment import PLACE
from sonde.agent.config.key import Key, Path
from sonde.agent.config.kind import shown
from sonde.agent.config.otlp import SIGNALS
from sonde.agent.config.setting import Layer, Origin

Translate = Callable[[str], Any]


def _as_it_is(text: str) -> str:
    return text.strip()


def _milliseconds(text: str) -> str:
    """Write a number of milliseconds as a duration."""
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise ValueError(f"{shown(text)} is wrong: give milliseconds, as 10000")
    return f"{text.strip()}ms"


def _temporality(text: str) -> str:
    """Translate a preference; ``lowmemory`` is cumulative for what is read as totals, and so is all of sonde's."""
    word = text.strip().lower()
    return "cumulative" if word == "lowmemory" else word


def _level(text: str) -> str:
    """Translate a level of logging."""
    word = text.strip().lower()
    return {"warn": "warning", "trace": "debug", "fatal": "error"}.get(word, word)


_DELIVERY: tuple[tuple[str, str, Translate], ...] = (
    ("ENDPOINT", "endpoint", _as_it_is),
    ("PROTOCOL", "protocol", _as_it_is),
    ("HEADERS", "headers", _as_it_is),
    ("COMPRESSION", "compression", _as_it_is),
    ("TIMEOUT", "timeout", _milliseconds),
    ("CERTIFICATE", "certificate", _as_it_is),
    ("CLIENT_CERTIFICATE", "client_certificate", _as_it_is),
    ("CLIENT_KEY", "client_key", _as_it_is),
    ("INSECURE", "insecure", _as_it_is),
)

VARIABLES: dict[str, tuple[Path, Translate]] = {
    "OTEL_RESOURCE_ATTRIBUTES": (("resource",), _as_it_is),
    "OTEL_METRIC_EXPORT_INTERVAL": (("otlp", "interval"), _milliseconds),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": (("otlp", "temporality"), _temporality),
    "OTEL_LOG_LEVEL": (("log", "level"), _level),
    **{f"OTEL_EXPORTER_OTLP_{name}": (("otlp", key), translate) for name, key, translate in _DELIVERY},
    **{
        f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}": (("otlp", signal, key), translate)
        for signal in SIGNALS
        for name, key, translate in _DELIVERY
    },
}
"""Variables that set one key, and how their text is translated to what the key takes."""

OTHERS = (
    "OTEL_SERVICE_NAME",
    "OTEL_SDK_DISABLED",
    "OTEL_METRICS_EXPORTER",
    "OTEL_LOGS_EXPORTER",
    "OTEL_EXPORTER_PROMETHEUS_HOST",
    "OTEL_EXPORTER_PROMETHEUS_PORT",
)
"""Variables that say something else than one key."""

DEFAULTS = {"http/protobuf": "http://localhost:4318", "grpc": "http://localhost:4317"}
"""Where OTLP goes by default, by protocol (OpenTelemetry Protocol Exporter, "Configuration Options")."""


def read_opentelemetry(environment: Mapping[str, str], keys: Mapping[Path, Key]) -> Layer:
    """Read the variables that concern sonde; an empty one is as one that is not set, as the specification says."""
    layer = Layer()
    for name, (path, translate) in VARIABLES.items():
        _read(layer, environment, name, path, keys[path], translate)
    # "If service.name is also provided in OTEL_RESOURCE_ATTRIBUTES, then OTEL_SERVICE_NAME takes precedence."
    if service := environment.get("OTEL_SERVICE_NAME", ""):
        _add(layer, "OTEL_SERVICE_NAME", ("resource",), keys[("resource",)], {"service.name": service})
    _read_exporters(layer, environment, keys)
    _read_prometheus(layer, environment, keys)
    return layer


def default_endpoints(environment: Mapping[str, str], values: Mapping[Path, Any]) -> Layer:
    """Give the specification's default endpoints to whom asks for OTLP by name, where ``values`` have none."""
    layer = Layer()
    asking = [f"OTEL_{signal.upper()}_EXPORTER" for signal in SIGNALS]
    asking = [name for name in asking if "otlp" in _words(environment, name)]
    if not asking or ("otlp", "endpoint") in values:
        return layer
    origin, common = Origin(PLACE, asking[0]), values.get(("otlp", "protocol")) or "http/protobuf"
    layer.add(("otlp", "endpoint"), DEFAULTS[common], origin)
    for signal in SIGNALS:
        own = values.get(("otlp", signal, "protocol")) or common
        if own != common and ("otlp", signal, "endpoint") not in values:
            # A signal's own is the whole URL.
            path = "" if own == "grpc" else f"/v1/{signal}"
            layer.add(("otlp", signal, "endpoint"), f"{DEFAULTS[own]}{path}", origin)
    return layer


def _words(environment: Mapping[str, str], name: str) -> list[str]:
    return [word.strip().lower() for word in environment.get(name, "").split(",") if word.strip()]


def _read(
    layer: Layer, environment: Mapping[str, str], name: str, path: Path, key: Key, translate: Translate
) -> None:
    text = environment.get(name, "")
    if not text.strip():
        return
    try:
        text.encode()
        layer.add(path, key.read(translate(text), is_text=True), Origin(PLACE, name))
    except UnicodeEncodeError:
        layer.refuse(Origin(PLACE, name), "it is no UTF-8")
    except ValueError as error:
        layer.refuse(Origin(PLACE, name), str(error))


def _add(layer: Layer, name: str, path: Path, key: Key, value: object) -> None:
    try:
        layer.add(path, key.read(value), Origin(PLACE, name))
    except ValueError as error:
        layer.refuse(Origin(PLACE, name), str(error))


def _read_exporters(layer: Layer, environment: Mapping[str, str], keys: Mapping[Path, Key]) -> None:
    """Read which exporters are wanted: those of OpenTelemetry's names that are ours, or none."""
    for signal in SIGNALS:
        name = f"OTEL_{signal.upper()}_EXPORTER"
        words = _words(environment, name)
        if not words:
            continue
        valid = ("otlp", "prometheus", "none") if signal == "metrics" else ("otlp", "none")
        for word in words:
            if word not in valid:
                layer.refuse(
                    Origin(PLACE, name), f"there is no exporter {shown(word)}: valid: {', '.join(valid)}"
                )
        _add(layer, name, ("otlp", signal, "enabled"), keys["otlp", signal, "enabled"], "otlp" in words)
        if signal == "metrics" and "prometheus" not in words:
            _add(layer, name, ("prometheus", "listen"), keys["prometheus", "listen"], "off")
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower()
    # The specification: only "true", without case, is true; everything else is false.
    if disabled == "true":
        for signal in SIGNALS:
            path: Path = ("otlp", signal, "enabled")
            _add(layer, "OTEL_SDK_DISABLED", path, keys[path], value=False)
        _add(layer, "OTEL_SDK_DISABLED", ("prometheus", "listen"), keys["prometheus", "listen"], "off")


def _read_prometheus(layer: Layer, environment: Mapping[str, str], keys: Mapping[Path, Key]) -> None:
    """Read where the endpoint listens, in two variables; ``localhost`` and 9464 are the specification's defaults."""
    names = ("OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT")
    host, port = (environment.get(name, "").strip() for name in names)
    is_off = any(setting.path == ("prometheus", "listen") for setting in layer.settings)
    if (host or port) and not is_off:
        host = f"[{host}]" if ":" in host else host
        given = names[0] if host else names[1]
        path: Path = ("prometheus", "listen")
        _add(layer, given, path, keys[path], f"{host or '127.0.0.1'}:{port or '9464'}")
