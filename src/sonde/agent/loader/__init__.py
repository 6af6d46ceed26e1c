"""The two processes: a small one that has the privileges to load, and the agent, which has none and asks it."""

from __future__ import annotations

from sonde.agent.loader.loader import Loader
from sonde.agent.loader.protocol import Identity
from sonde.agent.loader.remote_run import RemoteRun

__all__ = ["Identity", "Loader", "RemoteRun"]
