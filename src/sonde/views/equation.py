"""The accounting under every table: the equation in words, what was filtered and why, what was lost."""

from __future__ import annotations

from sonde.records.accounting import Accounting
from sonde.views.line import Line, wrapped

_TERMS = ("delivered", "aggregated", "filtered", "sampled_out")


def equation(accounting: Accounting, *, filtered: str = "", width: int | None = None) -> list[Line]:
    """Draw it; ``filtered`` says why events were left out, for the line below."""
    line: Line = [(f"seen {accounting.seen:,}", "bold")]
    sign = " = "
    for name in _TERMS:
        figure = getattr(accounting, name)
        if figure or (name == "aggregated" and not accounting.delivered):
            line.append((f"{sign}{name.replace('_', ' ')} {figure:,}", ""))
            sign = " + "
    line += _lost(accounting, sign)
    if accounting.in_flight:
        line.append((f"; in flight {accounting.in_flight:,}", ""))
    for name, figure in accounting.notes.items():
        if figure:
            line.append((f"; {name.replace('_', ' ')} {figure:,}", ""))
    if not accounting.final:
        line.append((" (so far)", "dim"))
    elif not accounting.balanced:
        line.append((f"; NOT BALANCED by {accounting.difference:,}: a bug of sonde's", "bold red"))
    lines = [line] if width is None else wrapped(line, width)
    if accounting.final and accounting.filtered and filtered:
        lines.append([(f"filtered: {filtered}", "dim")])
    return lines


def _lost(accounting: Accounting, sign: str) -> Line:
    total = accounting.lost_total
    if not total:
        return [(f"{sign}lost 0", "")]
    causes = ", ".join(
        f"{cause.replace('_', ' ')} {count:,}" for cause, count in accounting.lost.items() if count
    )
    return [(sign, ""), (f"lost {total:,} ({causes})", "bold red")]
