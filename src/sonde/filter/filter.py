"""A filter on an interface: rules that are obeyed, counted, and replaced in one step."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from sonde.bpf.capabilities import missing
from sonde.bpf.hooks import Xdp
from sonde.bpf.link.interface import Interface, interface_index, interfaces
from sonde.bpf.program import wait_for_programs
from sonde.errors import AttachError, PermissionDeniedError, SondeError
from sonde.filter import buckets
from sonde.filter.compiled import compile_rules
from sonde.filter.counts import Counts
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

if TYPE_CHECKING:
    from sonde.bpf.link.xdp import Mode, XdpLink
    from sonde.bpf.object import Object

CAPABILITIES = ("CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON")
"""The last one for a packet's length: without it the verifier lets nobody subtract pointers (allow_ptr_leaks)."""
SLOTS_MIN = 1024
KEYS = ("rule", "name", "action", "match")
FIGURES = ("packets", "bytes", "dropped", "dropped_bytes")
DRY_FIGURES = ("packets", "bytes", "would_drop", "would_drop_bytes")
"""What a rule has counted, in the order of struct counters; of a dry run, which drops nothing, by other names."""


def _schema(figures: tuple[str, ...]) -> Schema:
    columns = [Column(name, is_key=True) for name in KEYS] + [Column(name) for name in figures]
    return Schema("filter.rules", (*columns, Column("is_other", "sonde_other_t")))


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


class Row(NamedTuple):
    """What stands beside a rule's figures; the number counts from 1, and is 0 where there is no rule."""

    number: int
    name: str
    action: str
    match: str


def _rows(rules: RuleSet) -> list[Row]:
    """Write rules as a table shows them; once for each set, for there may be thousands."""
    return [
        Row(
            number,
            rule.name,
            " ".join(str(part) for part in (rule.action, rule.rate) if part),
            str(rule.condition),
        )
        for number, rule in enumerate(rules.rules, 1)
    ]


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
        self._rows = _rows(rules)
        self._assignment = Assignment((), frozenset(), frozenset(), {})
        self._counts: Counts | None = None

    # ---- life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load the program, fill its maps, attach it: every packet from then on meets the whole set."""
        lacking = missing(CAPABILITIES)
        if lacking:
            raise PermissionDeniedError(operation=f"filter {self.interface}", capability=", ".join(lacking))
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
        self._object, self._assignment, self.rules, self._rows = after, assignment, rules, _rows(rules)
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
        rest = self._rest(figures)
        rows = [*self._rows, *(row for row, _ in rest)]
        counted = np.concatenate(
            [figures[list(self._assignment.slots)], np.stack([figure for _, figure in rest])]
        )
        names = DRY_FIGURES if self.settings.is_dry_run else FIGURES
        columns: dict[str, Any] = {
            "rule": np.ma.masked_equal([row.number for row in rows], 0),
            **{name: np.array([getattr(row, name) for row in rows], dtype=object) for name in KEYS[1:]},
            **{name: counted[:, at] for at, name in enumerate(names)},
            "is_other": np.arange(len(rows)) >= len(self._rows),
        }
        return RecordBatch(_schema(names), columns, self._accounting(counted), time.time_ns())

    def _rest(self, figures: Any) -> list[tuple[Row, Any]]:
        """Give what no rule of this set counts: what met none, and, where there is any, what rules do not see."""
        unparsed = "drop" if self.settings.drops_unparsed else "pass"
        found = [(Row(0, "", "pass", "(not IP)"), figures[NOT_IP])]
        for number, reason in enumerate(self._reasons):
            words = reason.replace("_", " ")
            found.append((Row(0, "", unparsed, f"(cannot be read: {words})"), figures[UNPARSED + number]))
        found.append((Row(0, "", "", "(rules that were removed)"), self._counted.retired))
        otherwise = (Row(0, "", "pass", "(no rule)"), figures[OTHERWISE])
        return [otherwise, *((row, figure) for row, figure in found if figure[0])]

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
