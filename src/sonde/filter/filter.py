"""A filter on an interface: rules that are obeyed, counted, and replaced in one step."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sonde.bpf.hooks import Xdp
from sonde.bpf.link.interface import Interface, interface_index, interfaces
from sonde.errors import AttachError, SondeError
from sonde.filter import buckets
from sonde.filter.compiled import compile_rules
from sonde.filter.counts import Count, Counts
from sonde.filter.installation import (
    FIRST_RULE,
    NOT_IP,
    OTHERWISE,
    PROGRAM,
    UNPARSED,
    Handed,
    Settings,
    install,
    reasons,
)
from sonde.filter.rate import Rate
from sonde.filter.rule import RuleSet
from sonde.filter.slots import Assignment, Slots
from sonde.records.accounting import Accounting
from sonde.records.model import Column, RecordBatch, Schema
from sonde.run.control import wait_for_programs

if TYPE_CHECKING:
    from sonde.bpf.link.xdp import Mode, XdpLink
    from sonde.bpf.object import Object

SLOTS_MIN = 1024
COLUMNS = ("rule", "name", "action", "match", "packets", "bytes", "dropped", "dropped_bytes")
SCHEMA = Schema(
    "filter.rules",
    (
        Column("rule", is_key=True),
        Column("name", is_key=True),
        Column("action", is_key=True),
        Column("match", is_key=True),
        *(Column(name) for name in COLUMNS[4:]),
        Column("is_other", "sonde_other_t"),
    ),
)


WITHOUT_HEADERS = {512: "ppp", 519: "rawip", 768: "ipip", 769: "ip6tnl", 776: "sit", 778: "gre", 823: "ip6gre", 65534: "none"}  # fmt: skip
"""ARPHRD_* of interfaces whose frames begin with IP's header: tunnels, tun, WireGuard."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a replacement did: so many rules stayed as they were, and kept their counters and buckets."""

    rules: int
    kept: int
    added: int
    removed: int

    def __str__(self) -> str:
        noun = "rule" if self.rules == 1 else "rules"
        return f"{self.rules:,} {noun}: {self.kept:,} kept, {self.added:,} new, {self.removed:,} removed"


class Filter:
    """Obeys rules on one interface of this network namespace, from ``start`` until ``stop``; a context manager.

    A killed process leaves nothing attached. ``mode`` is native, generic, or auto: native, and generic where the driver
    cannot. Linux 5.10. Raises AttachError where another XDP program is there, TooComplexError, KernelError.
    """

    def __init__(
        self, interface: str, rules: RuleSet, *, mode: Mode = "auto", settings: Settings | None = None
    ) -> None:
        self.interface, self.rules = interface, rules
        self.settings = settings or Settings()
        self._hook = Xdp(interface, mode)
        self._place = Interface(0, interface)
        self._object: Object | None = None
        self._link: XdpLink | None = None
        self._slots = Slots(first=0)
        self._reasons: list[str] = []
        self._stopped = False
        self._assignment = Assignment((), frozenset(), frozenset(), {})
        self._counts: Counts | None = None

    # ---- life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load the program, fill its maps, attach it: every packet from then on meets the whole set."""
        self._place = _place(self.interface, self._hook)
        compiled = compile_rules(self.rules)
        slots = Slots(first=FIRST_RULE)
        assignment = slots.assign(self.rules)
        handed = Handed(max(SLOTS_MIN, 2 * assignment.needed), self._place.has_ethernet)
        loaded = install(self.rules, compiled, assignment.slots, self.settings, handed)
        try:
            self._reasons = reasons(loaded)
            self._add_shared(loaded, self.rules, assignment)
            self._link = self._hook.attach(loaded.programs[PROGRAM])
        except BaseException:
            loaded.close()
            raise
        slots.commit(assignment)
        self._slots, self._assignment, self._object = slots, assignment, loaded
        self._counts = Counts(loaded.maps["counters"], loaded.maps["seen"])

    def replace(self, rules: RuleSet) -> Replaced:
        """Put another set in the place of this one: every packet meets the one or the other, whole.

        Rules that are in both go on counting where they were, and limits keep their buckets. Where it fails the old
        set stays in force.
        """
        before, link, counts = self.loaded, self.link, self._counted
        compiled = compile_rules(rules)
        assignment = self._slots.assign(rules)
        room = counts.counters.max_entries
        fits = assignment.needed <= room
        limited = before.maps["buckets"].max_entries > 1
        handed = Handed(
            slots=room if fits else 2 * assignment.needed,
            has_ethernet=self._place.has_ethernet,
            seen=before.maps["seen"],
            counters=before.maps["counters"] if fits else None,
            buckets=before.maps["buckets"] if limited else None,
        )
        after = install(rules, compiled, assignment.slots, self.settings, handed)
        try:
            self._add_shared(after, rules, assignment)
            link.update(after.programs[PROGRAM])
        except BaseException:
            after.close()
            raise
        wait_for_programs()
        # From here on nobody writes to what only the old program knew.
        counts.move(after.maps["counters"], after.maps["seen"])
        counts.retire(assignment.removed)
        buckets.remove_of(after.maps["buckets"], assignment.removed)
        self._slots.commit(assignment)
        self._object, self._assignment, self.rules = after, assignment, rules
        before.close()
        kept = len(rules) - len(assignment.added)
        return Replaced(len(rules), kept, len(assignment.added), len(assignment.removed))

    def stop(self) -> None:
        """Detach it; what is read from now on is final. Again is fine."""
        if self._stopped or self._link is None:
            return
        self._stopped = True
        self._link.close()
        wait_for_programs()

    def close(self) -> None:
        """Detach it, and free everything; again is fine."""
        if self._link is not None:
            self._link.close()
        if self._object is not None:
            self._object.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def loaded(self) -> Object:
        """Give the object in the kernel; raises SondeError before ``start``."""
        if self._object is None:
            raise SondeError(f"use the filter of {self.interface}", why="it was not started")
        return self._object

    @property
    def link(self) -> XdpLink:
        """Give the link; raises SondeError before ``start``."""
        if self._link is None:
            raise SondeError(f"use the filter of {self.interface}", why="it was not started")
        return self._link

    @property
    def mode(self) -> str:
        """Tell which XDP it got: native or generic."""
        return self.link.mode

    @property
    def is_attached(self) -> bool:
        """Tell whether the interface is still there; with it the program has gone."""
        try:
            return bool(socket.if_indextoname(self._place.index))
        except OSError:
            return False

    # ---- limits -----------------------------------------------------------------------------------------------

    @staticmethod
    def _rates(rules: RuleSet, assignment: Assignment) -> dict[int, Rate]:
        pairs = zip(assignment.slots, rules.rules, strict=True)
        return {slot: rule.rate for slot, rule in pairs if rule.rate is not None}

    def _add_shared(self, loaded: Object, rules: RuleSet, assignment: Assignment) -> None:
        rates = self._rates(rules, assignment)
        added = {slot: rate for slot, rate in rates.items() if slot in assignment.added}
        buckets.add_shared(loaded.maps["buckets"], added)

    # ---- reading ----------------------------------------------------------------------------------------------

    @property
    def _counted(self) -> Counts:
        if self._counts is None:
            raise SondeError(f"read the filter of {self.interface}", why="it was not started")
        return self._counts

    def read(self) -> RecordBatch:
        """Give a row for each rule, for what met none, and for what rules do not see; cumulative."""
        counts = self._counted
        rates = self._rates(self.rules, self._assignment)
        if rates and not self._stopped:
            now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            buckets.sweep(self.loaded.maps["buckets"], rates, now_ns)
        # What was seen is read last while packets come, so that "so far" never claims what is not there yet.
        figures = counts.read()
        rows = [
            (number, rule.name, str(rule.action) + (f" {rule.rate}" if rule.rate else ""), str(rule.condition),
             figures[slot])
            for number, (rule, slot) in enumerate(zip(self.rules.rules, self._assignment.slots, strict=True), 1)
        ]  # fmt: skip
        rows.append((0, "", "pass", "(no rule)", figures[OTHERWISE]))
        rows += [row for row in self._rest(figures) if row[4][0]]
        counted = np.stack([row[4] for row in rows])
        columns: dict[str, Any] = {
            "rule": np.ma.masked_equal([row[0] for row in rows], 0),
            "name": np.array([row[1] for row in rows], dtype=object),
            "action": np.array([row[2] for row in rows], dtype=object),
            "match": np.array([row[3] for row in rows], dtype=object),
            **{name: counted[:, at] for at, name in enumerate(Count._fields[:4])},
            "is_other": np.array([row[0] == 0 for row in rows]),
        }
        return RecordBatch(SCHEMA, columns, self._accounting(counted), time.time_ns())

    def _rest(self, figures: Any) -> list[tuple[int, str, str, str, Any]]:
        unparsed = "drop" if self.settings.drops_unparsed else "pass"
        found = [(0, "", "pass", "(not IP)", figures[NOT_IP])]
        for number, reason in enumerate(self._reasons):
            name = reason.replace("_", " ")
            found.append((0, "", unparsed, f"(cannot be read: {name})", figures[UNPARSED + number]))
        found.append((0, "", "", "(rules that were removed)", self._counted.retired))
        return found

    def _accounting(self, counted: Any) -> Accounting:
        packets, _, dropped, _, shared = (int(figure) for figure in counted.sum(axis=0))
        is_dry = self.settings.is_dry_run
        notes = {
            "passed": packets if is_dry else packets - dropped,
            "would_drop" if is_dry else "dropped": dropped,
            "without_a_bucket_of_their_own": shared,
        }
        return Accounting(
            seen=self._counted.seen_packets(), aggregated=packets, notes=notes, final=self._stopped
        )


def _place(interface: str, hook: Xdp) -> Interface:
    """Find an interface; raises AttachError where there is none, or where its frames begin with something else."""
    index = interface_index(interface, hook)
    found = next((each for each in interfaces() if each.index == index), Interface(index, interface))
    if not found.has_ethernet and found.link_type not in WITHOUT_HEADERS:
        raise AttachError(
            f"attach to {hook}",
            why=f"its frames begin with neither Ethernet's header nor IP's (link type {found.link_type})",
            hint="filter on the interface that carries them further",
            hook=str(hook),
        )
    return found
