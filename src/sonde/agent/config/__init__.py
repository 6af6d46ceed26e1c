"""The agent's configuration: ``sonde.toml``, the environment and the command line as one frozen ``Config``."""

from __future__ import annotations

from sonde.agent.config.config import Config
from sonde.agent.config.difference import Changes, Difference, difference
from sonde.agent.config.loading import load_config
from sonde.agent.config.probe import ProbeConfig, RunConfig

__all__ = ["Changes", "Config", "Difference", "ProbeConfig", "RunConfig", "difference", "load_config"]
