"""The equation that every output obeys: nothing is lost silently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

UNREPRESENTED = "unrepresented"
"""The note of how many that are ``sampled_out`` may yet be counted by one that is taken (sampling.bpf.h)."""


@dataclass(frozen=True, slots=True)
class Accounting:
    """``seen = delivered + aggregated + filtered + sampled_out + lost``, for one stream or table.

    ``seen`` is counted by the kernel at entry; ``delivered`` and ``aggregated`` are counted in what Python hands
    out, never by the kernel, so that the equation can fail. ``in_flight`` are operations that have begun and not
    ended: not seen yet. ``notes`` count what is worth knowing and is no part of the equation. Figures that are
    not ``final`` are of a running probe, whose counters move while they are read.
    """

    seen: int = 0
    delivered: int = 0
    aggregated: int = 0
    filtered: int = 0
    sampled_out: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)
    in_flight: int = 0
    notes: Mapping[str, int] = field(default_factory=dict)
    final: bool = False

    @property
    def lost_total(self) -> int:
        """Everything lost, whatever the cause."""
        return sum(self.lost.values())

    @property
    def difference(self) -> int:
        """``seen`` minus all that is accounted for: 0, or something is wrong."""
        return self.seen - (
            self.delivered + self.aggregated + self.filtered + self.sampled_out + self.lost_total
        )

    @property
    def balanced(self) -> bool:
        """Tell whether the equation holds."""
        return self.difference == 0

    @property
    def settled(self) -> Accounting:
        """Leave out what may yet be counted otherwise, as if it had not ended: then no figure ever goes back."""
        waiting = self.notes.get(UNREPRESENTED, 0)
        return replace(
            self,
            seen=self.seen - waiting,
            sampled_out=self.sampled_out - waiting,
            in_flight=self.in_flight + waiting,
            notes={name: count for name, count in self.notes.items() if name != UNREPRESENTED},
        )

    def __add__(self, later: Accounting) -> Accounting:
        """Add the account of what came later: of the same output, started again."""
        return Accounting(
            seen=self.seen + later.seen,
            delivered=self.delivered + later.delivered,
            aggregated=self.aggregated + later.aggregated,
            filtered=self.filtered + later.filtered,
            sampled_out=self.sampled_out + later.sampled_out,
            lost=_added(self.lost, later.lost),
            in_flight=later.in_flight,
            notes=_added(self.notes, later.notes),
            final=later.final,
        )

    def as_dict(self) -> dict[str, Any]:
        """Give the figures under their names, ``lost`` by cause (those that happened)."""
        return {
            "seen": self.seen,
            "delivered": self.delivered,
            "aggregated": self.aggregated,
            "filtered": self.filtered,
            "sampled_out": self.sampled_out,
            "lost": {cause: count for cause, count in self.lost.items() if count},
            "in_flight": self.in_flight,
            **{name: count for name, count in self.notes.items() if count},
        }

    def __str__(self) -> str:
        lost = ", ".join(f"{cause} {count:,}" for cause, count in self.lost.items() if count)
        parts = [
            f"seen {self.seen:,}",
            *(
                f"{name} {count:,}"
                for name, count in (
                    ("delivered", self.delivered),
                    ("aggregated", self.aggregated),
                    ("filtered", self.filtered),
                    ("sampled out", self.sampled_out),
                )
                if count
            ),
            f"lost {self.lost_total:,}" + (f" ({lost})" if lost else ""),
        ]
        text = " = ".join([parts[0], " + ".join(parts[1:])])
        if self.in_flight:
            text += f"; in flight {self.in_flight:,}"
        if self.final and not self.balanced:
            text += f"; NOT BALANCED by {self.difference:,}"
        return text + ("" if self.final else " (so far)")


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
