"""The founding document's five rows, with the totals that its own weights give, beside our evidence for each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.report import evidence
from benchmarks.results import Results

SYSTEMS = ("eBPF", "ptrace", "perf", "SystemTap")
PRINTED = (9.30, 6.20, 7.80, 7.30)


@dataclass(frozen=True)
class Dimension:
    """A row: its weight in percent, the document's scores in the order of ``SYSTEMS``, our evidence."""

    name: str
    weight: int
    scores: tuple[int, int, int, int]
    evidence: Callable[[Results], str]


DIMENSIONS = (
    Dimension("performance", 30, (10, 5, 8, 7), evidence.performance),
    Dimension("safety", 25, (10, 6, 8, 7), evidence.safety),
    Dimension("flexibility", 20, (10, 7, 6, 9), evidence.flexibility),
    Dimension("ease of use", 15, (7, 6, 8, 6), evidence.ease),
    Dimension("ecosystem", 10, (9, 7, 9, 7), evidence.ecosystem),
)


def totals() -> list[float]:
    """Weigh the document's scores with its own weights."""
    return [
        sum(dimension.weight * dimension.scores[at] for dimension in DIMENSIONS) / 100
        for at in range(len(SYSTEMS))
    ]


def lines(found: Results) -> Iterator[str]:
    """Write the matrix and, row by row, what was measured."""
    yield "\n## The document's matrix, and what was measured for each of its rows\n"
    yield f"| | weight | {' | '.join(SYSTEMS)} |"
    yield "|---" * (len(SYSTEMS) + 2) + "|"
    for row in DIMENSIONS:
        yield f"| {row.name} | {row.weight} % | {' | '.join(map(str, row.scores))} |"
    yield f"| total as printed | | {' | '.join(f'{each:.2f}' for each in PRINTED)} |"
    yield f"| **total by its own weights** | | {' | '.join(f'**{each:.2f}**' for each in totals())} |"
    yield "\nThe scores are the document's; none of its four totals follows from them. Scores are opinions; here is what this run has to say to each:\n"
    for row in DIMENSIONS:
        yield f"* **{row.name}**: {row.evidence(found)}"
    yield "\nAnd to each drawback that the document names:\n"
    yield from (f"* **{name}**: {said}" for name, said in evidence.drawbacks(found))
