"""``promtool check metrics`` has nothing to say about our pages."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from made_series import CALLS, DURATION, many, series, snapshot
from prometheus.server import check_metrics
from sonde.exporters.prometheus.families import families_of
from sonde.exporters.prometheus.text import write_text
from sonde.exporters.text import unambiguous
from sonde.probes import all_probes
from sonde.records.metrics import OVERFLOW, Kind, Metric, Series, Snapshot

pytestmark = pytest.mark.host_only


def page(taken: Snapshot) -> bytes:
    pieces = itertools.chain.from_iterable(
        write_text(family, classic_buckets=26) for family in families_of(taken)
    )
    return b"".join(piece for piece, _ in pieces)


def test_it_does_find_fault_with_a_bad_page() -> None:
    status, said = check_metrics(b"# TYPE bad_total gauge\nbad_total 1\n")
    assert status != 0
    assert "bad_total" in said


def test_a_large_page_passes() -> None:
    overflow = series(CALLS, {OVERFLOW: [True]}, [1])
    taken = snapshot(many(CALLS, 2_000), many(DURATION, 2_000), overflow, service__name="sonde")
    assert check_metrics(page(taken)) == (0, "")


def test_every_metric_of_every_probe_passes() -> None:
    """What tables declare, with one series each."""
    metrics = [
        metric for probe in all_probes().values() for table in probe.tables for metric in table.metrics
    ]
    assert metrics
    parts = [_one(metric) for metric in metrics]
    assert check_metrics(page(snapshot(*parts))) == (0, "")


def _one(metric: Metric) -> Series:
    values = np.ones((1, 88), np.uint64) if metric.kind == "histogram" else np.ones(1, np.uint64)
    return series(metric, {name: ["x"] for name in metric.attributes}, values, [1])


KINDS = st.sampled_from(["counter", "updown", "gauge", "histogram"])
UNITS = st.sampled_from(["", "s", "By", "1", "{call}", "By/s", "{process}"])
WORDS = st.sampled_from(
    ["sonde", "process.count", "io", "total", "sum", "bucket", "thread.count", "load", "2nd"]
)
TEXTS = st.text(st.characters(codec=None), max_size=12)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.lists(st.tuples(st.lists(WORDS, min_size=1, max_size=3), KINDS, UNITS, TEXTS), min_size=1, max_size=5),
    st.lists(TEXTS, min_size=1, max_size=4, unique_by=unambiguous),
)
def test_whatever_is_named_and_labelled_passes(
    metrics: list[tuple[list[str], Kind, str, str]], names: list[str]
) -> None:
    parts = []
    for words, kind, unit, text in metrics:
        metric = Metric(".".join(words), kind, unit, text, value="")
        values = np.ones((len(names), 4) if kind == "histogram" else len(names), np.uint64)
        parts.append(series(metric, {"process.executable.name": names, "le": names}, values))
    assert check_metrics(page(snapshot(*parts))) == (0, "")
