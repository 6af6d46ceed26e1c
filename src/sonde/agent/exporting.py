"""Exporters as the configuration wants them; each is imported when there is one to make."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sonde.errors import CommandError

if TYPE_CHECKING:
    from sonde.agent.config import Config
    from sonde.agent.runtime import Runtime
    from sonde.exporters.exporter import Exporter


def make_exporter(name: str, config: Config, runtime: Runtime) -> Exporter:
    """Make one of ``config.exporters``; raises SondeError for what cannot be, CommandError for what is not installed."""
    try:
        exporter, pace_s = MAKERS[name](config, runtime), config.pace_s(name)
        if pace_s is None:
            return exporter
        from sonde.agent.pace import Paced

        # A tenth of the time between two readings.
        return Paced(exporter, interval_s=pace_s, early_s=config.read_interval_s / 10)
    except ImportError as error:
        raise CommandError(
            f"export to {name}",
            why=f"{error.name or error} is not installed",
            hint=f"pip install 'sonde[{name}]'",
        ) from error


def _file(config: Config, _: Runtime) -> Exporter:
    from sonde.exporters.json_lines import JsonLinesExporter, JsonLinesSettings

    section = config.file
    return JsonLinesExporter(
        JsonLinesSettings(
            path=section.path,
            rotate_size_bytes=section.rotate_size_bytes,
            rotate_keep=section.rotate_keep,
            metrics=section.metrics,
            logs=section.logs,
        )
    )


def _otlp(config: Config, runtime: Runtime) -> Exporter:
    from sonde.exporters.otlp import OtlpExporter

    # gRPC's C library writes lines of its own about each handshake that fails; what failed is said by us, once.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    exporter = OtlpExporter(config.otlp.settings())
    exporter.describe(runtime.resource)
    return exporter


def _prometheus(config: Config, runtime: Runtime) -> Exporter:
    from sonde.exporters.prometheus.exporter import PrometheusExporter

    board = runtime.board
    return PrometheusExporter(
        config.prometheus.settings(),
        snapshot=board.fresh,
        healthy=board.alive,
        ready=lambda: board.ready(runtime.measurements, runtime.exporters),
    )


MAKERS = {"file": _file, "otlp": _otlp, "prometheus": _prometheus}
