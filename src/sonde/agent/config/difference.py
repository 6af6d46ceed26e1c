"""The difference between two configurations: what a reload has to stop, to start, and to leave alone."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from sonde.agent.config.config import Config
from sonde.agent.config.probe import RunConfig

EXPORTERS = ("otlp", "prometheus", "file")
APART = {*EXPORTERS, "probes", "path", "warnings", "process"}


@dataclass(frozen=True, slots=True)
class Changes:
    """Names of what begins, ends, ends and begins again with other settings, and goes on as it is.

    ``reselected`` goes on, too, on other interfaces.
    """

    started: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    reselected: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.started or self.stopped or self.restarted or self.reselected)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a reload changes.

    ``runs`` are named as ``RunConfig.name``, ``exporters`` as in the configuration. ``sections`` are those that take
    effect at once, without a restart of anything: ``interval_s``, ``resource``, ``series``, ``budget``, ``log``.
    ``needs_restart`` are the keys that a reload cannot change, for the service has to begin again.
    """

    runs: Changes
    exporters: Changes
    sections: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.runs or self.exporters or self.sections or self.needs_restart)


def difference(old: Config, new: Config) -> Difference:
    """Tell what has to happen so that what runs by ``old`` runs by ``new``."""
    others = [each.name for each in fields(Config) if each.name not in APART]
    return Difference(
        runs=_changes(_runs(old), _runs(new)),
        exporters=_changes(_exporters(old), _exporters(new)),
        sections=tuple(name for name in others if getattr(old, name) != getattr(new, name)),
        needs_restart=("process.user",) if old.process.user != new.process.user else (),
    )


def _runs(config: Config) -> dict[str, RunConfig]:
    return {run.name: run for run in config.runs}


def _exporters(config: Config) -> dict[str, Any]:
    return {
        name: (getattr(config, name), config.pace_s(name)) for name in EXPORTERS if name in config.exporters
    }


def _changes(old: dict[str, Any], new: dict[str, Any]) -> Changes:
    both = [name for name in new if name in old]
    elsewhere = [name for name in both if old[name] != new[name] and _is_only_elsewhere(old[name], new[name])]
    return Changes(
        started=tuple(name for name in new if name not in old),
        stopped=tuple(name for name in old if name not in new),
        restarted=tuple(name for name in both if old[name] != new[name] and name not in elsewhere),
        kept=tuple(name for name in both if old[name] == new[name]),
        reselected=tuple(elsewhere),
    )


def _is_only_elsewhere(old: Any, new: Any) -> bool:
    """Tell whether nothing but the interfaces of a run differ."""
    return isinstance(old, RunConfig) and old == replace(
        new,
        selection=replace(
            new.selection,
            interfaces=old.selection.interfaces,
            exclude_interfaces=old.selection.exclude_interfaces,
        ),
    )
