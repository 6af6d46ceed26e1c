"""The whole configuration, as it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sonde.agent.config.budget import BudgetConfig
from sonde.agent.config.file import FileConfig
from sonde.agent.config.key import key
from sonde.agent.config.kind import Duration, Pairs
from sonde.agent.config.log import LogConfig
from sonde.agent.config.otlp import OtlpConfig
from sonde.agent.config.probe import ProbeConfig, RunConfig
from sonde.agent.config.process import ProcessConfig
from sonde.agent.config.prometheus import PrometheusConfig
from sonde.agent.config.series import SeriesConfig


@dataclass(frozen=True, slots=True)
class Config:
    """What the agent does; ``load_config`` makes one.

    ``path`` is the file that it was read from (empty: none), ``warnings`` are sentences for the log. A secret is in
    no ``repr``.
    """

    interval_s: float = key(
        Duration(least="100ms", most="1h"), 5.0, "How often tables are read and exported.", name="interval"
    )
    resource: Mapping[str, Any] = key(
        Pairs("attributes", is_plain=False),
        {},
        "Attributes of all that is exported, beside what sonde finds.",
        example='{ "service.name" = "sonde", "deployment.environment.name" = "production" }',
    )
    series: SeriesConfig = field(default_factory=SeriesConfig)
    probes: Mapping[str, ProbeConfig] = field(default_factory=dict)
    otlp: OtlpConfig = field(default_factory=OtlpConfig)
    prometheus: PrometheusConfig = field(default_factory=PrometheusConfig)
    file: FileConfig = field(default_factory=FileConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    process: ProcessConfig = field(default_factory=ProcessConfig)
    log: LogConfig = field(default_factory=LogConfig)
    path: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[RunConfig, ...]:
        """Give what is to be run: each output of each probe that is enabled, in the order of their names."""
        from sonde.probes import probe

        return tuple(run for name, each in sorted(self.probes.items()) for run in each.runs(probe(name)))

    @property
    def exporters(self) -> tuple[str, ...]:
        """Name the exporters that are enabled."""
        sections = {"otlp": self.otlp, "prometheus": self.prometheus, "file": self.file}
        return tuple(name for name, each in sections.items() if each.is_enabled)  # type: ignore[attr-defined]
