"""The clocks of a profile: a perf event on each CPU that is online, and how often each should have run the program."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonde.bpf.link.link import Link
from sonde.bpf.link.perf_event import PerfEvent, online_cpus
from sonde.bpf.link.perf_source import PerfAttachment, count_of, stopped_events
from sonde.bpf.map.map import possible_cpus
from sonde.errors import KnobError
from sonde.probe import EVENT, EVENTS, FREQUENCY, FREQUENCY_MAX_HZ

if TYPE_CHECKING:
    from sonde.bpf.map import Map
    from sonde.bpf.program import Program

NS = 1_000_000_000
TOLERATED = 1
"""A CPU's tick may fall between two of the steps by which it is counted."""

CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq")
CPUINFO = Path("/proc/cpuinfo")


def nominal_hz() -> int:
    """Give the rate at which a CPU counts cycles when nothing holds it back; 1 GHz where the machine does not say."""
    for name in ("base_frequency", "cpuinfo_max_freq"):
        try:
            return int((CPUFREQ / name).read_text()) * 1000
        except (OSError, ValueError):
            continue
    for line in CPUINFO.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "cpu MHz":
            return round(float(value) * 1e6)
    return NS


def ticks_in(enabled_ns: int, *, period_ns: int, monotonic_ns: int, raw_ns: int) -> int:
    """Compute how many ticks a timer has made while its event was enabled for so long.

    An event's time is the machine's own, as CLOCK_MONOTONIC_RAW; its timer follows CLOCK_MONOTONIC, which NTP sets right:
    weeks show the difference. Both have gone on by so much.
    """
    return enabled_ns * monotonic_ns // max(raw_ns, 1) // period_ns


@dataclass(slots=True)
class Clock:
    """The event of one CPU, from when on, and how many ticks there were before it."""

    event: PerfAttachment
    monotonic_ns: int
    raw_ns: int
    ticks_before: int = 0
    skipped: int = 0


class Clocks:
    """The events of all CPUs, as one attachment of a link: some come later."""

    def __init__(self) -> None:
        self.by_cpu: dict[int, Clock] = {}

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Give the descriptors that keep the program attached."""
        return tuple(fd for clock in self.by_cpu.values() for fd in clock.event.descriptors)

    def detach(self) -> None:
        """Let go of all events."""
        for clock in self.by_cpu.values():
            clock.event.detach()


class Sampling:
    """Runs a program at the ticks of a clock on each CPU, and knows how many ticks there were.

    The kernel skips programs of perf events without a word (while a classic tracepoint's program runs on the CPU, for
    one): what a CPU's program has not seen of the ticks that its event's time makes is written into the map ``skipped``.
    ``seen`` gives how often it ran, by CPU. ``values`` are the knobs.
    """

    def __init__(self, program: Program, values: Mapping[str, Any], *, accounting: Map, skipped: Map) -> None:
        self._program, self._accounting, self._skipped = program, accounting, skipped
        frequency = _checked_frequency(values.get(FREQUENCY.name, FREQUENCY.default))
        event = _checked_event(values.get(EVENT.name, EVENT.default))
        self._is_time = event == EVENTS[0]
        # By period, never by frequency: then it is known how many ticks a time, or a count of cycles, makes.
        self._period = (NS if self._is_time else nominal_hz()) // frequency
        self._hook = PerfEvent(event, period=self._period)
        self._clocks = Clocks()
        self.link = Link(program, PerfEvent(event, frequency=frequency), self._clocks)
        self._is_enabled = self._is_over = False

    def open(self) -> None:
        """Attach on all CPUs; no tick comes before ``begin``. Raises NotSupportedError, PermissionDeniedError."""
        try:
            for cpu in online_cpus():
                self._open_on(cpu)
        except BaseException:
            self.link.close()
            raise
        self._program.handle.adopt(self.link)

    def begin(self) -> None:
        """Start all clocks."""
        self._is_enabled = True
        for clock in self._clocks.by_cpu.values():
            clock.event.enable()
            clock.monotonic_ns, clock.raw_ns = _times()

    def refresh(self) -> None:
        """Open events on CPUs that are back, and write how many ticks were skipped so far."""
        if self._is_over:
            return
        events = {cpu: clock.event.event for cpu, clock in self._clocks.by_cpu.items()}
        online = online_cpus()
        stopped = stopped_events(events[cpu] for cpu in online if cpu in events)
        for cpu in online:
            if cpu not in events or events[cpu] in stopped:
                self._open_on(cpu)
        self._account()

    def stop(self) -> None:
        """Stop all clocks: what is written then is final."""
        if self._is_over:
            return
        self._is_over = True
        for clock in self._clocks.by_cpu.values():
            clock.event.disable()
        self._account()

    def _open_on(self, cpu: int) -> None:
        event = self._hook.attach_disabled(self._program, cpu)
        if event is None:
            return
        fresh = Clock(event, *_times())
        before = self._clocks.by_cpu.get(cpu)
        if before is not None:
            fresh.ticks_before, fresh.skipped = self._ticks_of(before), before.skipped
            before.event.detach()
        self._clocks.by_cpu[cpu] = fresh
        if self._is_enabled:
            event.enable()

    def _ticks_of(self, clock: Clock) -> int:
        """Compute how many ticks a CPU's clocks have made."""
        count = count_of(clock.event.event)
        if not self._is_time:
            return clock.ticks_before + count.value // self._period
        monotonic_ns, raw_ns = _times()
        return clock.ticks_before + ticks_in(
            count.enabled_ns,
            period_ns=self._period,
            monotonic_ns=monotonic_ns - clock.monotonic_ns,
            raw_ns=raw_ns - clock.raw_ns,
        )

    def _account(self) -> None:
        ticks = {cpu: self._ticks_of(clock) for cpu, clock in self._clocks.by_cpu.items()}
        # What was seen is read after the ticks: what comes between them can only make less of what was skipped.
        seen = self._seen()
        for cpu, clock in self._clocks.by_cpu.items():
            missing = ticks[cpu] - seen[cpu]
            if missing > TOLERATED:
                clock.skipped = max(clock.skipped, missing)
        skipped = [0] * possible_cpus()
        for cpu, clock in self._clocks.by_cpu.items():
            skipped[cpu] = clock.skipped
        self._skipped[0] = skipped  # type: ignore[index]

    def _seen(self) -> list[int]:
        by_program: Any = self._accounting.values()  # type: ignore[attr-defined]
        return [sum(entry.seen for entry in entries) for entries in zip(*by_program, strict=True)]


def _times() -> tuple[int, int]:
    return time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


def _checked_frequency(value: Any) -> int:
    if isinstance(value, int) and 1 <= value <= FREQUENCY_MAX_HZ:
        return value
    raise KnobError(
        f"set {FREQUENCY.name}",
        why=f"{value!r} is none",
        hint=f"give 1 to {FREQUENCY_MAX_HZ} times a second",
        knob=FREQUENCY.name,
    )


def _checked_event(value: Any) -> str:
    if value in EVENTS:
        return str(value)
    raise KnobError(
        f"set {EVENT.name}",
        why=f"there is no event {value!r}",
        hint=f"valid: {' or '.join(EVENTS)}",
        knob=EVENT.name,
    )
