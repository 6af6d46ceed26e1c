"""A new configuration while the agent runs: what has not changed goes on, what has begins where the former ends."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sonde.agent.config import Changes, Config, RunConfig, difference
from sonde.agent.exporting import make_exporter
from sonde.agent.identity import who_of
from sonde.agent.loader.remote_run import RemoteRun
from sonde.agent.log import set_up
from sonde.agent.pace import unpaced
from sonde.agent.resource import resource_of
from sonde.errors import KernelError, SondeError

if TYPE_CHECKING:
    from sonde.agent.agent import Agent
    from sonde.agent.measurement import Measurement
    from sonde.exporters.exporter import Exporter

LOG = logging.getLogger("sonde.agent")
END_S = 4.0
"""How long an exporter may deliver what waits, once it is not wanted any more."""
BESIDE = frozenset({"otlp"})
"""Exporters that may end beside those in their place: others have a port, or a file."""


@runtime_checkable
class Successor(Protocol):
    """An exporter that goes on where another of its kind ends."""

    def hold(self) -> None:
        """Deliver nothing until ``succeed`` has come to its end, or ``release`` is called."""
        ...

    def resume(self, former: Any) -> None:
        """Go on with what one has delivered that has ended."""
        ...

    def release(self) -> None:
        """Deliver what waits, and what comes."""
        ...

    def succeed(self, former: Any) -> None:
        """Have the other one end, and go on with what waits there."""
        ...


@dataclass(slots=True)
class Reloading:
    """Applies configurations to an agent."""

    agent: Agent

    def apply(self, new: Config) -> None:
        """Run by this from now on; what cannot be is said, and stays as it was or detached."""
        agent, runtime, old = self.agent, self.agent.runtime, self.agent.config
        changes = difference(old, new)
        for warning in new.warnings:
            LOG.warning("%s", warning)
        # What could not be until now is tried again, and said again where it still cannot.
        runtime.board.problem = ""
        self._apply_runs(new, changes.runs, is_series_new=old.series != new.series)
        runtime.resource = resource_of(new)
        staying = self._apply_exporters(old, new, changes.exporters)
        agent.config = replace(new, **{name: getattr(old, name) for name in staying})
        runtime.interval_s = runtime.board.interval_s = agent.config.read_interval_s
        if old.budget != new.budget:
            runtime.change_budget(new.budget.cpu)
        set_up(new.log.level, new.log.format)
        for key in changes.needs_restart:
            LOG.warning("%s changes when sonde is started again", key)

    # ---- what is measured -----------------------------------------------------------------------------------

    def _apply_runs(self, new: Config, changes: Changes, *, is_series_new: bool) -> None:
        runtime = self.agent.runtime
        before = {each.name: each for each in runtime.measurements}
        wanted = {each.name: each for each in new.runs}
        successors: dict[str, RemoteRun] = {}
        for name in (*changes.restarted, *self._reselect(wanted, before, changes.reselected)):
            successor = self._successor(wanted[name], before[name])
            if successor is not None:
                successors[name] = successor
            runtime.let_go(before[name])
        for name in changes.stopped:
            runtime.let_go(before[name])
        if is_series_new or changes.stopped:
            # The last counts of series that nobody goes on with.
            runtime.export_now()
        runtime.stopped |= {name: before[name] for name in changes.stopped}
        if is_series_new:
            runtime.identity = who_of(new, self.agent.loader)
            for each in runtime.stopped.values():
                each.totals = ()
        now = self.agent.measurements(new)
        for each in now:
            former = before.get(each.name) or runtime.stopped.pop(each.name, None)
            if former is not None:
                goes_on = not is_series_new and len(former.totals) == len(each.totals)
                each.succeed(former, with_series=goes_on, running=successors.get(each.name))
        runtime.measurements[:] = now
        runtime.attach_missing()

    def _successor(self, run: RunConfig, former: Measurement) -> RemoteRun | None:
        """Have another run go on where this one ends; None where it cannot be beside it, and has to begin afterwards."""
        running = former.running
        if not isinstance(running, RemoteRun) or not running.can_be_succeeded:
            return None
        try:
            return self.agent.start(run, predecessor=running)
        except SondeError as error:
            LOG.info("%s: %s: it begins anew with a gap", former.name, error)
            return None

    def _reselect(
        self, wanted: Mapping[str, RunConfig], before: Mapping[str, Measurement], names: Iterable[str]
    ) -> Iterator[str]:
        """Put runs on other interfaces while they count; gives those that have to begin anew for it."""
        for name in names:
            try:
                before[name].select(wanted[name].selection)
            except SondeError as error:
                LOG.warning("%s: %s", name, error)
                yield name

    # ---- where it goes --------------------------------------------------------------------------------------

    def _apply_exporters(self, old: Config, new: Config, changes: Changes) -> list[str]:
        """Begin and end exporters; gives the names of those that cannot be as they should, and stay as they were."""
        runtime, staying = self.agent.runtime, list[str]()
        for exporter in [each for each in runtime.exporters if each.name in changes.stopped]:
            self._end(exporter)
        here = {each.name for each in runtime.exporters}
        # Also one that at an earlier reload could be neither as it should nor as it was.
        gone = [name for name in changes.kept if name not in here]
        for name in (*changes.started, *changes.restarted, *gone):
            former = next((each for each in runtime.exporters if each.name == name), None)
            try:
                self._begin(name, former, old, new)
            except (SondeError, OSError) as error:
                staying.append(name)
                runtime.board.problem = str(error)
                is_here = any(each.name == name for each in runtime.exporters)
                how = "stays as it was" if is_here or name in changes.started else "has ended"
                LOG.error("%s: %s %s, until the next reload", error, name, how)
        for exporter in runtime.exporters:
            # A rotated file's name is another file's meanwhile, a certificate was renewed.
            reopen = getattr(exporter, "reopen", None)
            try:
                if reopen is not None:
                    reopen()
            except SondeError as error:
                runtime.board.problem = str(error)
                LOG.error("%s: %s goes on with what it has, until the next reload", error, exporter.name)
        return staying

    def _begin(self, name: str, former: Exporter | None, old: Config, new: Config) -> None:
        """Make an exporter, and end its former one when it is there: else that goes on. Raises what making it raises."""
        runtime = self.agent.runtime
        try:
            made = make_exporter(name, new, runtime)
        except KernelError as error:
            if former is None or error.errno != errno.EADDRINUSE or not _has_port(former, new):
                raise
            # The address may be the former one's own, with another token, say.
            self._end(former)
            try:
                made = make_exporter(name, new, runtime)
            except (SondeError, OSError):
                # The first reason is what has to be mended, whatever keeps the former one from coming back.
                with suppress(SondeError, OSError):
                    runtime.exporters.append(make_exporter(name, old, runtime))
                raise
        else:
            self._hand_over(former, made)
        runtime.exporters.append(made)

    def _hand_over(self, former: Exporter | None, made: Exporter) -> None:
        """End the former exporter; who can goes on with what waits there, and with what has been delivered."""
        endings = self.agent.runtime.endings
        after = unpaced(made)
        if not isinstance(after, Successor):
            if former is not None:
                self._end(former)
            return
        after.hold()
        if former is not None:
            before = unpaced(former)
            self.agent.runtime.exporters.remove(former)
            endings.begin(former, lambda: after.succeed(before), is_succeeded=True)
        elif not endings.follow(made.name, lambda last: _resume(after, last)):
            after.release()

    def _end(self, exporter: Exporter) -> None:
        runtime = self.agent.runtime
        runtime.exporters.remove(exporter)
        ending = runtime.endings.begin(exporter, lambda: exporter.close(timeout_s=END_S))
        if exporter.name not in BESIDE:
            ending.wait(END_S)


def _resume(after: Successor, last: Exporter) -> None:
    """Go on where another has ended that was not wanted for a while."""
    after.resume(unpaced(last))
    after.release()


def _has_port(exporter: Exporter, config: Config) -> bool:
    """Tell whether an endpoint has the port that a configuration wants, at whatever address."""
    listen = config.prometheus.listen
    return listen is not None and getattr(exporter, "port", None) == listen.port
