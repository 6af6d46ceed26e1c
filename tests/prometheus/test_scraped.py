"""Real Prometheus servers scrape the endpoint: what a query returns is what was counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from certificates import authority, signed
from made_series import BUCKETS, CALLS, DURATION, many, series, snapshot
from prometheus.server import RELEASES, Prometheus, prometheus, version_of
from sonde.exporters.prometheus.exporter import PrometheusExporter
from sonde.exporters.prometheus.settings import PrometheusSettings
from sonde.exporters.text import unambiguous
from sonde.records.histogram import quantiles
from sonde.records.metrics import OVERFLOW, Metric, Snapshot

pytestmark = pytest.mark.host_only

VERSIONS = list(RELEASES)
NATIVE = [pytest.param(False, id="text"), pytest.param(True, id="protobuf")]
NAME = "process.executable.name"
CALLS_NAME, DURATION_NAME = "sonde_syscall_calls_total", "sonde_syscall_duration_seconds"
FRACTIONS = (0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0)
NASTY = [
    "plain",
    'quote"d',
    "back\\slash",
    "new\nline",
    "\x1b[31mred\x1b[0m",
    b"caf\xe9".decode(errors="surrogateescape"),
    "Füße 猫",
    '{a="b"} 1',
    "tab\tnul\x00",
    "# HELP x",
    "\u2028\u202e",
    "100%d",
]


class Measured:
    """What the agent would give: the newest snapshot, and how often it was asked for."""

    def __init__(self, taken: Snapshot) -> None:
        self.taken = taken

    def __call__(self) -> Snapshot:
        return self.taken


@contextmanager
def scraped(
    folder: Path,
    measured: Measured,
    *,
    version: str,
    native: bool,
    settings: PrometheusSettings | None = None,
    **scraping: Any,
) -> Iterator[tuple[Prometheus, PrometheusExporter]]:
    exporter = PrometheusExporter(settings or PrometheusSettings(port=0), snapshot=measured)
    try:
        with prometheus(folder, exporter.url, version=version, native=native, **scraping) as server:
            yield server, exporter
    finally:
        exporter.close(timeout_s=10)


@pytest.mark.parametrize("native", NATIVE)
@pytest.mark.parametrize("version", VERSIONS)
def test_totals_are_what_was_counted(tmp_path: Path, version: str, *, native: bool) -> None:
    """Every label of every series, and every total, and how they grow; histograms' counts and sums in both formats."""
    nasty = series(
        CALLS,
        {NAME: [*NASTY, None], OVERFLOW: [None] * len(NASTY) + [True]},
        np.arange(len(NASTY) + 1) * 1009,
    )
    load = Metric("load", "updown", "{thread}", "Threads.", value="")
    took = many(DURATION, 50)
    measured = Measured(snapshot(nasty, series(load, {}, np.array([-17])), took, service__name="sonde"))
    with scraped(tmp_path, measured, version=version, native=native) as (server, exporter):
        server.until_value(f"sum({CALLS_NAME})", float(nasty.values.sum()))
        found = {
            sample.labels.get("process_executable_name", ""): sample.value
            for sample in server.query(CALLS_NAME)
        }
        assert found == {unambiguous(name): at * 1009.0 for at, name in enumerate([*NASTY, ""])}
        assert server.value(f'{CALLS_NAME}{{otel_metric_overflow="true"}}') == len(NASTY) * 1009
        assert server.value("load") == -17
        assert server.query("target_info")[0].labels["service_name"] == "sonde"

        count, total = ("histogram_count({})", "histogram_sum({})") if native else ("{}_count", "{}_sum")
        assert took.totals is not None
        assert server.value(f"sum({count.format(DURATION_NAME)})") == float(took.values.sum())
        expected_s = float(took.totals.sum()) * 1e-9
        assert server.value(f"sum({total.format(DURATION_NAME)})") == pytest.approx(expected_s, rel=1e-12)

        measured.taken = snapshot(series(CALLS, {NAME: ["plain"]}, [104_729]))
        server.until_value(f"sum({CALLS_NAME})", 104_729)
        # Series that have ended are gone at once, not after five minutes.
        assert server.query(DURATION_NAME) == []
        server.until(lambda: exporter.status().is_healthy, "the endpoint is well")
        # A machine that stands still for a second lets a scrape fail, and then both know it.
        server.until(
            lambda: sum(exporter.status().failures.values()) <= server.failed_scrapes(),
            f"only scrapes that failed are failures: {exporter.status().failures}",
        )


@pytest.mark.parametrize("native", NATIVE)
@pytest.mark.parametrize("version", VERSIONS)
def test_ten_thousand_series_arrive(tmp_path: Path, version: str, *, native: bool) -> None:
    calls, took = many(CALLS, 8_009), many(DURATION, 1_999)
    measured = Measured(snapshot(calls, took))
    with scraped(
        tmp_path, measured, version=version, native=native, scrape_interval="5s", scrape_timeout="5s"
    ) as (server, _):
        server.until_value(f"count({CALLS_NAME})", 8_009)
        assert server.value(f"sum({CALLS_NAME})") == pytest.approx(float(calls.values.sum()), rel=1e-15)
        counted = f"histogram_count({DURATION_NAME})" if native else f"{DURATION_NAME}_count"
        assert server.value(f"count({counted})") == 1_999
        assert server.value(f"sum({counted})") == float(took.values.sum())


def spread(seed: int = 5) -> tuple[Any, np.ndarray[Any, Any]]:
    """Histograms of several shapes: broad, narrow, with gaps, with nothing, in the lowest bucket only."""
    random = np.random.default_rng(seed)
    counts = np.zeros((5, BUCKETS), np.uint64)
    counts[0, 10:70] = random.integers(1, 10_000, 60)
    counts[1, 41] = 1009
    counts[2, [0, 3, 30, 31, 33, 60, 86]] = [7, 1000, 5, 2**40, 11, 13, 17]
    counts[4, 0] = 4_001
    return series(DURATION, {"shape": list("abcde")}, counts, counts.sum(axis=1)), counts


@pytest.mark.parametrize("version", VERSIONS)
def test_native_quantiles_are_those_of_the_raw_buckets(tmp_path: Path, version: str) -> None:
    """Prometheus 3 interpolates within a bucket as our own views do, evenly on the logarithmic scale, 2.42 linearly."""
    taken, counts = spread()
    with scraped(tmp_path, Measured(snapshot(taken)), version=version, native=True) as (server, _):
        server.until_value(f"count(histogram_count({DURATION_NAME}))", 5)
        found = {
            sample.labels["shape"]: sample.value
            for sample in server.query(f"histogram_count({DURATION_NAME})")
        }
        assert found == dict(zip("abcde", counts.sum(axis=1).astype(float).tolist(), strict=True))
        ours = quantiles(counts, 1, FRACTIONS, unit=2.0**-30)
        for at, fraction in enumerate(FRACTIONS):
            answer = server.query(f"histogram_quantile({fraction}, {DURATION_NAME})")
            told = {sample.labels["shape"]: sample.value for sample in answer}
            for row, shape in enumerate("abcde"):
                expected = native_quantile(counts[row], fraction, exponential=server.version[0] >= 3)
                assert told[shape] == pytest.approx(expected, rel=1e-9, abs=1e-20, nan_ok=True), (
                    shape,
                    fraction,
                )
                # The zero bucket is Prometheus's own affair, and so is what the first of its values is.
                if server.version[0] >= 3 and shape in "ab" and fraction * counts[row].sum() >= 1:
                    assert told[shape] == pytest.approx(float(ours[at][row]), rel=1e-9)


def native_quantile(counts: Any, fraction: float, *, exponential: bool) -> float:
    """Compute a quantile from the kernel's raw buckets by Prometheus's rule for native histograms."""
    total = int(counts.sum())
    if not total:
        return float("nan")
    rank, upto = fraction * total, np.cumsum(counts)
    bucket = next(at for at in np.flatnonzero(counts).tolist() if upto[at] >= rank)
    share = (rank - float(upto[bucket] - counts[bucket])) / float(counts[bucket])
    upper = 2.0 ** (-30 + (bucket + 1) / 2)
    if bucket == 0 and int(upto[-1]) == int(counts[0]):
        # Where there is nothing else Prometheus cannot know that nothing is below zero.
        return upper * (2 * share - 1)
    if bucket == 0:
        return upper * share
    lower = 2.0 ** (-30 + bucket / 2)
    return lower * (upper / lower) ** share if exponential else lower + (upper - lower) * share


@pytest.mark.parametrize("version", VERSIONS)
def test_classic_quantiles_are_those_of_the_summed_buckets(tmp_path: Path, version: str) -> None:
    """From text: the kernel's two buckets an octave summed to one, linear within it, as the rule is."""
    taken, counts = spread()
    with scraped(tmp_path, Measured(snapshot(taken)), version=version, native=False) as (server, _):
        server.until_value(f"count({DURATION_NAME}_count)", 5)
        bounds = [2.0**power for power in range(-20, 6)]
        for fraction in FRACTIONS[1:]:
            answer = server.query(f"histogram_quantile({fraction}, {DURATION_NAME}_bucket)")
            told = {sample.labels["shape"]: sample.value for sample in answer}
            for row, shape in enumerate("abcde"):
                expected = classic_quantile(counts[row], bounds, fraction)
                assert told[shape] == pytest.approx(expected, rel=1e-9, abs=1e-20, nan_ok=True), (
                    shape,
                    fraction,
                )


def classic_quantile(counts: Any, bounds: list[float], fraction: float) -> float:
    """Compute a quantile by Prometheus's rule for classic histograms, from the kernel's raw buckets."""
    upto = np.cumsum(counts)
    if not upto[-1]:
        return float("nan")
    below = [int(upto[2 * (power + 30) - 1]) for power in range(-20, 6)]
    rank = fraction * int(upto[-1])
    at = next((at for at, count in enumerate(below) if count >= rank), None)
    if at is None:
        return bounds[-1]
    lower, before = (bounds[at - 1], below[at - 1]) if at else (0.0, 0)
    return lower + (bounds[at] - lower) * (rank - before) / (below[at] - before)


def test_native_and_classic_come_together_for_who_wants_both(tmp_path: Path) -> None:
    taken, counts = spread()
    if version_of("3") < (3,):
        pytest.skip("needs Prometheus 3")
    measured = Measured(snapshot(taken))
    with scraped(tmp_path, measured, version="3", native=True, always_scrape_classic_histograms=True) as (
        server,
        _,
    ):
        server.until_value(f"count(histogram_count({DURATION_NAME}))", 5)
        inf = server.query(f'{DURATION_NAME}_bucket{{le="+Inf"}}')
        assert {sample.labels["shape"]: sample.value for sample in inf} == dict(
            zip("abcde", counts.sum(axis=1).astype(float).tolist(), strict=True)
        )
        assert server.value(f'count({DURATION_NAME}_bucket{{shape="a"}})') == 27


@pytest.mark.parametrize("version", VERSIONS)
def test_a_scrape_with_tls_and_a_token(tmp_path: Path, version: str) -> None:
    ours = authority(tmp_path)
    server_certificate = signed(tmp_path, ours)
    settings = PrometheusSettings(
        port=0,
        tls_certificate=str(server_certificate.file),
        tls_key=str(server_certificate.key),
        token="open-sesame",
    )
    measured = Measured(snapshot(series(CALLS, {}, [7919])))
    scraping = {"tls_config": {"ca_file": str(ours.file)}, "authorization": {"credentials": "open-sesame"}}
    with scraped(tmp_path, measured, version=version, native=False, settings=settings, **scraping) as (
        server,
        _,
    ):
        server.until_value(CALLS_NAME, 7919)


def test_the_last_page_reaches_a_real_scrape(tmp_path: Path) -> None:
    """The agent has stopped counting; the endpoint stays until a scrape has taken the final totals."""
    measured = Measured(snapshot(series(CALLS, {}, [1])))
    # The endpoint cannot know of a scrape that takes its page and then finds that a second has passed.
    patient = {"scrape_interval": "10s", "scrape_timeout": "10s"}
    with scraped(tmp_path, measured, version="2.42", native=False, **patient) as (server, exporter):
        server.until_value(CALLS_NAME, 1)
        taken: list[bool] = []
        final = snapshot(series(CALLS, {}, [7919]))
        lingering = threading.Thread(target=lambda: taken.append(exporter.linger(final, timeout_s=60)))
        lingering.start()
        lingering.join(90)
        exporter.close(timeout_s=10)
        assert taken == [True]
        # The server has it in its database a moment after it was sent.
        server.until_value(f"max_over_time({CALLS_NAME}[1m])", 7919)
