"""The agent: what ``sonde run`` is, from its configuration to its summary."""

from __future__ import annotations

import errno
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sonde.agent.budget import Budget
from sonde.agent.config import Changes, Config, RunConfig, difference
from sonde.agent.cost import Cost
from sonde.agent.exporting import make_exporter
from sonde.agent.loader.remote_run import RemoteRun
from sonde.agent.log import set_up
from sonde.agent.measurement import Measurement
from sonde.agent.notify import Notifier
from sonde.agent.runtime import Runtime
from sonde.agent.signals import ENDING, Signals
from sonde.agent.summary import Summary, summary_of
from sonde.errors import ConfigError, KernelError, LoaderError, SondeError
from sonde.probes import probe as find_probe
from sonde.version import VERSION

if TYPE_CHECKING:
    from sonde.agent.loader.loader import Loader
    from sonde.agent.loader.protocol import Identity
    from sonde.exporters.exporter import Exporter

LOG = logging.getLogger("sonde.agent")
INSTANCE = str(uuid.uuid4())
"""This process among all of its kind (service.instance.id): its counters begin with it."""
LIVES = RunConfig("processes", "lifecycle", {"cgroups": True})
"""The stream of processes' lives: one that moves to another cgroup changes its unit."""
END_S, END_MIN_S = 4.0, 1.0
"""How long it may take to count no more and for exporters to deliver, all together: it is over within 5 s of a SIGTERM.
Exporters have the second of them in any case."""


@dataclass(slots=True)
class Agent:
    """Runs by a configuration until a signal or the end of its time; reloads it on SIGHUP.

    ``loader`` is asked for what needs privileges, and closed at the end. ``reload`` reads the configuration anew;
    ``announce`` is called once everything counts. ``failure`` is why it ended when nobody asked it to.
    """

    config: Config
    loader: Loader
    reload: Callable[[], Config]
    announce: Callable[[Agent], None] = lambda _: None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    runtime: Runtime = field(init=False)
    failure: SondeError | None = None
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Make the parts; nothing is in the kernel yet."""
        self.runtime = Runtime(
            [],
            [],
            who_of(self.config, self.loader),
            interval_s=self.config.read_interval_s,
            budget=Budget(self.config.budget.cpu),
            cost=Cost(self.loader.pid),
            notifier=Notifier(self.environment),
            resource=resource_of(self.config),
            say=LOG.warning,
            open_window=self.loader.count_runs,
        )
        self.runtime.measurements += self._measurements(self.config)

    def _measurements(self, config: Config) -> list[Measurement]:
        """Make those of the configuration, and the stream of processes' lives, by which rows are named.

        That is the agent's own, whatever the configuration exports of it: to some processes, or so many in a second.
        """
        most = config.series.max
        lives = self._measurement(LIVES, series_max=most, own_name=self.runtime.lives)
        return [lives, *(self._measurement(run, series_max=most) for run in config.runs)]

    def _measurement(self, run: RunConfig, *, series_max: int, own_name: str = "") -> Measurement:
        probe, who = find_probe(run.probe), self.runtime.identity
        return Measurement(
            probe,
            probe.output(run.output),
            lambda: self._start(run),
            attributes=who.attributes,
            identify=self.runtime.identify,
            series_max=series_max,
            own_name=own_name,
        )

    def _start(self, run: RunConfig, *, predecessor: RemoteRun | None = None) -> RemoteRun:
        bound = {"rate_max": run.rate_max} if run.rate_max else {}
        return self.loader.start(
            run.probe,
            run.output,
            selection=run.selection,
            values={**run.values, **bound},
            max_entries=run.max_entries,
            differences=True,
            predecessor=predecessor,
        )

    # ---- life -----------------------------------------------------------------------------------------------

    def run(self, *, duration_s: float | None = None) -> Summary:
        """Measure; raises SondeError for what cannot begin, with nothing left behind."""
        runtime, closing_s = self.runtime, END_S
        with Signals() as signals:
            self.loader.hurries = lambda: signals.is_ending
            try:
                for name in self.config.exporters:
                    runtime.exporters.append(make_exporter(name, self.config, runtime))
                runtime.begin()
                self._started = time.monotonic()
                runtime.notifier.ready(self.status)
                self.announce(self)
                self._turn(signals, duration_s)
                ending_at = time.monotonic()
                runtime.finish()
                ended_at = time.monotonic()
                # A loader that does not answer has taken of the time.
                closing_s = max(END_MIN_S, END_S - (ended_at - ending_at))
                seconds = ended_at - self._started
                if self.loader.lost and self.failure is None:
                    LOG.warning("the loader %s: it was ended by force", self.loader.loss)
                self._linger()
            finally:
                runtime.close(timeout_s=closing_s)
                self.loader.close()
        return summary_of(runtime, seconds)

    def _linger(self) -> None:
        """Let one more scrape take the final page, if the configuration grants it time."""
        seconds = self.config.prometheus.linger_s
        for exporter in self.runtime.exporters:
            if exporter.name == "prometheus" and seconds > 0 and self.runtime.board.snapshot is not None:
                exporter.linger(self.runtime.board.snapshot, timeout_s=seconds)  # type: ignore[attr-defined]

    def _turn(self, signals: Signals, duration_s: float | None) -> None:
        """Let the loop turn, and see to what wakes it, until the end."""
        deadline = None if duration_s is None else self._started + duration_s
        while True:
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = self.runtime.loop(ends=[signals.fileno(), self.loader.fileno()], duration_s=left_s)
            if not ready:
                return
            if signals.fileno() in ready:
                taken = signals.take()
                if taken & ENDING:
                    return
                if taken:
                    self._reload()
            if self.loader.fileno() in ready:
                self._loader_is_gone()
                return

    def _loader_is_gone(self) -> None:
        """Read what its programs have left in the maps, which are ours too, and end: only the service begins anew.

        The agent has no privileges to start another loader with, and shall have none.
        """
        self.failure = SondeError(
            "measure",
            why=f"the loader {self.loader.loss}",
            hint="start sonde again; systemd does, as its unit says",
        )
        self.runtime.board.problem = str(self.failure)
        LOG.error("%s", self.failure)

    # ---- reloading ------------------------------------------------------------------------------------------

    def _reload(self) -> None:
        """Run by a new configuration; where it is wrong, or cannot be, everything stays as it was."""
        self.runtime.notifier.reloading(time.monotonic_ns())
        try:
            new = self.reload()
        except ConfigError as error:
            for problem in error.problems:
                LOG.error("%s", problem)
            LOG.error("the configuration stays as it was")
        except (SondeError, OSError) as error:
            LOG.error("%s: the configuration stays as it was", error)
        else:
            self._apply(new)
        self.runtime.notifier.ready(self.status)

    def _apply(self, new: Config) -> None:
        changes, old = difference(self.config, new), self.config
        # What could not be until now is tried again, and said again where it still cannot.
        self.runtime.board.problem = ""
        self._apply_runs(new, changes.runs, is_series_new=old.series != new.series)
        staying = self._apply_exporters(old, new, changes.exporters)
        self.config = replace(new, **{name: getattr(old, name) for name in staying})
        self.runtime.resource = resource_of(new)
        self.runtime.interval_s = self.runtime.board.interval_s = new.read_interval_s
        if old.budget != new.budget:
            self.runtime.budget = Budget(new.budget.cpu, level=self.runtime.board.level)
            self.runtime.vitals.budget_share = new.budget.cpu
        set_up(new.log.level, new.log.format)
        for key in changes.needs_restart:
            LOG.warning("%s changes when sonde is started again", key)
        LOG.info("configuration reloaded: %s", self.status)

    def _apply_runs(self, new: Config, changes: Changes, *, is_series_new: bool) -> None:
        """What has not changed goes on; what has begins anew where it ended, and its counters go on."""
        runtime = self.runtime
        before = {each.name: each for each in runtime.measurements}
        wanted = {each.name: each for each in new.runs}
        running: dict[str, RemoteRun] = {}
        for name in (*changes.restarted, *self._reselect(new, before, changes.reselected)):
            successor = self._successor(wanted[name], before[name])
            if successor is not None:
                running[name] = successor
            runtime.give(before[name], before[name].detach())
        for name in changes.stopped:
            runtime.give(before[name], before[name].detach())
        if is_series_new:
            runtime.identity = who_of(new, self.loader)
        now = self._measurements(new)
        for each in now:
            former = before.get(each.name)
            if former is not None:
                each.succeed(former, with_series=not is_series_new, running=running.get(each.name))
        runtime.measurements[:] = now
        runtime.attach_missing()

    def _successor(self, run: RunConfig, former: Measurement) -> RemoteRun | None:
        """Have another run go on where this one ends; None where it cannot be beside it, and has to begin afterwards."""
        running = former.running
        if not isinstance(running, RemoteRun) or not running.can_be_succeeded:
            return None
        try:
            return self._start(run, predecessor=running)
        except SondeError as error:
            LOG.debug("%s cannot go on without a gap: %s", former.name, error)
            return None

    def _reselect(
        self, new: Config, before: Mapping[str, Measurement], names: tuple[str, ...]
    ) -> Iterator[str]:
        """Put runs on other interfaces while they count; gives those that have to begin anew for it."""
        selections = {each.name: each.selection for each in new.runs}
        for name in names:
            try:
                before[name].select(selections[name])
            except SondeError as error:
                LOG.warning("%s: %s", name, error)
                yield name

    def _apply_exporters(self, old: Config, new: Config, changes: Changes) -> list[str]:
        """Begin and end exporters; gives the names of those that cannot be as they should, and stay as they were."""
        runtime, staying = self.runtime, list[str]()
        for exporter in [each for each in runtime.exporters if each.name in changes.stopped]:
            runtime.end_exporter(exporter, timeout_s=END_S)
        for name in (*changes.started, *changes.restarted):
            former = next((each for each in runtime.exporters if each.name == name), None)
            try:
                self._begin_exporter(name, former, old, new)
            except (SondeError, OSError) as error:
                staying.append(name)
                runtime.board.problem = str(error)
                LOG.error("%s: %s stays as it was, until the next reload", error, name)
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

    def _begin_exporter(self, name: str, former: Exporter | None, old: Config, new: Config) -> None:
        """Make an exporter, and end its former one when it is there: else that goes on. Raises what making it raises."""
        runtime = self.runtime
        try:
            made = make_exporter(name, new, runtime)
        except KernelError as error:
            if former is None or error.errno != errno.EADDRINUSE:
                raise
            # The address may be the former one's own, with another token, say.
            runtime.end_exporter(former, timeout_s=END_S)
            try:
                made = make_exporter(name, new, runtime)
            except BaseException:
                runtime.exporters.append(make_exporter(name, old, runtime))
                raise
        else:
            if former is not None:
                runtime.end_exporter(former, timeout_s=END_S)
        runtime.exporters.append(made)

    # ---- words ----------------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """Say in one line what it does."""
        names = ", ".join(each.name for each in self.runtime.measurements if each.is_exported)
        places = [
            f"{each.name} ({each.url}/metrics)" if hasattr(each, "url") else each.name
            for each in self.runtime.exporters
        ]
        return f"measures {names}; exports to {', '.join(places) or 'nothing'}"


def who_of(config: Config, loader: Loader) -> Any:
    """Make what knows processes, keyed as the configuration says; what /proc hides from us the loader is asked for."""
    from sonde.enrich.who import Who

    def ask(pids: Sequence[int]) -> dict[int, Identity]:
        try:
            return loader.identify(pids)
        except LoaderError:
            # It has ended: what it knew of processes nobody knows now, and what was counted is exported all the same.
            return {}

    return Who(by=config.series.by, ask=ask)


def resource_of(config: Config) -> dict[str, Any]:
    """Give the attributes of the resource, by the semantic conventions; what the configuration says goes first."""
    system = os.uname()
    return {
        "service.name": "sonde",
        "service.version": VERSION,
        "service.instance.id": INSTANCE,
        "host.name": system.nodename,
        "host.arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(system.machine, system.machine),
        "os.type": "linux",
        "os.version": system.release,
        **config.resource,
    }
