"""The agent: what ``sonde run`` is, from its configuration to its summary."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sonde.agent.budget import Budget
from sonde.agent.config import Config, RunConfig
from sonde.agent.cost import Cost
from sonde.agent.exporting import make_exporter
from sonde.agent.identity import who_of
from sonde.agent.loader.remote_run import RemoteRun
from sonde.agent.measurement import Measurement
from sonde.agent.notify import Notifier
from sonde.agent.reloading import Reloading
from sonde.agent.resource import resource_of
from sonde.agent.runtime import Runtime
from sonde.agent.signals import ENDING, Signals
from sonde.agent.summary import Summary, summary_of
from sonde.bpf.capabilities import IN_SYS_ADMIN
from sonde.errors import ConfigError, LoaderError, SondeError
from sonde.probes import probe as find_probe

if TYPE_CHECKING:
    from sonde.agent.loader.loader import Loader

LOG = logging.getLogger("sonde.agent")
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
    _reloading: Reloading = field(init=False)
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
        self.runtime.measurements += self.measurements(self.config)
        self._reloading = Reloading(self)

    def measurements(self, config: Config) -> list[Measurement]:
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
            lambda: self.start(run),
            attributes=who.attributes,
            identify=self.runtime.identify,
            series_max=series_max,
            own_name=own_name,
        )

    def start(self, run: RunConfig, *, predecessor: RemoteRun | None = None) -> RemoteRun:
        """Have the loader start a run; raises what starting raises, and SondeError for what it has given up."""
        kept = set(self.loader.ready.kept)
        kept |= IN_SYS_ADMIN if "CAP_SYS_ADMIN" in kept else set()
        lacking = [name for name in find_probe(run.probe).capabilities if name not in kept]
        if lacking:
            why = f"it takes {', '.join(lacking)}, which the loader gave up at its start"
            raise SondeError(f"start {run.name}", why=why, hint="start sonde again")
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
            self.loader.hurry_while(lambda: signals.is_ending)
            try:
                for name in self.config.exporters:
                    runtime.exporters.append(make_exporter(name, self.config, runtime))
                try:
                    runtime.begin()
                except LoaderError:
                    if not signals.is_ending:
                        raise
                    # It was asked to end before anything counted.
                    return summary_of(runtime, 0.0)
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
            # It may also have answered what was not waited for.
            if self.loader.fileno() in ready and self.loader.lost:
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
            self._reloading.apply(new)
            LOG.info("configuration reloaded: %s", self.status)
        self.runtime.notifier.ready(self.status)

    # ---- words ----------------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """Say in one line what it does."""
        attached = [each for each in self.runtime.measurements if each.is_exported and each.is_attached]
        names = ", ".join(each.name for each in attached) or "nothing"
        places = [
            f"{each.name} ({each.url}/metrics)" if hasattr(each, "url") else each.name
            for each in self.runtime.exporters
        ]
        return f"measures {names}; exports to {', '.join(places) or 'nothing'}"
