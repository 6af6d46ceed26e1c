"""Loading: defaults, then the file, then the environment, then the command line; each says more than the one before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sonde.agent.config.catalogue import all_keys, why_unknown
from sonde.agent.config.config import Config
from sonde.agent.config.document import read_document
from sonde.agent.config.environment import read, read_environment
from sonde.agent.config.files import missing_files
from sonde.agent.config.key import Key, Path, built, dotted
from sonde.agent.config.kind import Pairs
from sonde.agent.config.opentelemetry import default_endpoints, read_opentelemetry
from sonde.agent.config.probe import probe_config
from sonde.agent.config.setting import Layer, Origin
from sonde.agent.config.trying import why_refused
from sonde.errors import ConfigError
from sonde.probes import all_probes

COMMAND_LINE = "command line"


def load_config(
    path: str | None,
    environment: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    *,
    content: bytes | None = None,
) -> Config:
    """Make the configuration of a file (None: there is none), the environment, and what the command line says.

    ``content`` is the file's where it was read already, from a pipe; ``path`` then says where it came from.
    ``overrides`` are values by dotted key, ``{"otlp.endpoint": "http://localhost:4317"}``: texts as they are typed,
    or of TOML's types. Raises ConfigError, whose ``problems`` are all that was found.
    """
    keys = all_keys()
    layers = [
        *([read_document(path, keys, content=content)] if path is not None else []),
        read_opentelemetry(environment, keys),
        read_environment(environment, keys),
        _read_overrides(overrides or {}, keys),
    ]
    values: dict[Path, Any] = {}
    origins: dict[Path, Origin] = {}
    for setting in (each for layer in layers for each in layer.settings):
        is_merged = isinstance(keys[setting.path].kind, Pairs)
        before = values.get(setting.path, {}) if is_merged else {}
        values[setting.path] = {**before, **setting.value} if is_merged else setting.value
        origins[setting.path] = setting.origin
    for setting in default_endpoints(environment, values).settings:
        values[setting.path], origins[setting.path] = setting.value, setting.origin
    problems = [problem for layer in layers for problem in layer.problems]
    config = _made(values)
    problems += _contradictions(config, origins, path or "configuration", {each.key for each in problems})
    if problems:
        # The file's by their lines, then the others as they were found.
        raise ConfigError.of(sorted(problems, key=lambda each: (each.file != path, each.line)))
    warnings = tuple(warning for layer in layers for warning in layer.warnings)
    warnings += *config.otlp.warnings(), *config.warnings_of_pace(), *missing_files(config)
    return replace(config, path=path or "", warnings=warnings)


def _read_overrides(overrides: Mapping[str, Any], keys: Mapping[Path, Key]) -> Layer:
    layer = Layer()
    for name, value in overrides.items():
        path = tuple(name.split("."))
        origin = Origin(COMMAND_LINE, dotted(path))
        if path not in keys:
            layer.refuse(origin, why_unknown(path, keys))
        elif isinstance(value, str):
            read(layer, path, keys[path], value, origin)
        else:
            try:
                layer.add(path, keys[path].read(value), origin)
            except ValueError as error:
                layer.refuse(origin, str(error))
    return layer


def _made(values: Mapping[Path, Any]) -> Config:
    config: Config = built(Config, values)
    return replace(config, probes={name: probe_config(each, values) for name, each in all_probes().items()})


def _contradictions(
    config: Config, origins: Mapping[Path, Origin], place: str, told: set[str]
) -> Iterator[ConfigError]:
    """Find what only all keys together show, unless something is said of that key already."""
    found: list[tuple[Path, str]] = [*config.otlp.problems(), *config.prometheus.problems()]
    for name, probe in all_probes().items():
        section = config.probes[name]
        if section.enabled:
            found += section.problems(probe)
            found += [problem for run in section.runs(probe) for problem in why_refused(run)]
    for path, reason in dict.fromkeys(found):
        origin = origins.get(path) or Origin(place, dotted(path))
        if origin.key not in told:
            yield origin.problem(reason)
