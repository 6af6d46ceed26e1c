"""The whole configuration, as it holds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
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
    def read_interval_s(self) -> float:
        """How often tables are read: as often as OTLP wants them, where that is more often."""
        return min(self.interval_s, self._otlp_interval_s)

    @property
    def _otlp_interval_s(self) -> float:
        own = self.otlp.interval_s if self.otlp.is_enabled else None
        return self.interval_s if own is None else own

    def pace_s(self, exporter: str) -> float | None:
        """Tell how often an exporter is handed metrics; None: each time that tables are read."""
        wanted = {"otlp": self._otlp_interval_s, "file": self.interval_s}.get(exporter, 0.0)
        return wanted if wanted > self.read_interval_s else None

    def warnings_of_pace(self) -> Iterator[str]:
        """Say what is rounded: metrics are handed on when they are read."""
        for setting, name, words in (("otlp.interval", "otlp", "sent"), ("interval", "file", "written")):
            pace_s = self.pace_s(name) if name in self.exporters else None
            times = (pace_s or 0.0) / self.read_interval_s
            if pace_s is not None and not math.isclose(times, round(times), abs_tol=0.01):
                given, read, rounded = (
                    Duration().write(each)[1:-1]
                    for each in (pace_s, self.read_interval_s, math.ceil(times) * self.read_interval_s)
                )
                yield (
                    f"{setting}: {given} is no multiple of {read}, how often tables are read: "
                    f"metrics are {words} every {rounded}"
                )

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
