"""The classic text format, read back by Prometheus's own Python library."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from made_series import BUCKETS, CALLS, DURATION, many, series, snapshot
from sonde.exporters.prometheus.families import families_of
from sonde.exporters.prometheus.text import write_text
from sonde.exporters.text import encodable, unambiguous
from sonde.records.metrics import OVERFLOW, Metric, Snapshot

NAME = "process.executable.name"


def page(taken: Snapshot, *, classic_buckets: int = 26) -> str:
    pieces = itertools.chain.from_iterable(
        write_text(family, classic_buckets=classic_buckets) for family in families_of(taken)
    )
    return b"".join(piece for piece, _ in pieces).decode()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, key
            found[key] = sample.value
    return found


def test_a_counter_is_written_with_help_and_type() -> None:
    calls = series(CALLS, {NAME: ["cat", "dog"], "error.type": [None, "EPERM"]}, [3, 5])
    assert page(snapshot(calls)) == (
        "# HELP sonde_syscall_calls_total System calls.\n"
        "# TYPE sonde_syscall_calls_total counter\n"
        'sonde_syscall_calls_total{process_executable_name="cat"} 3\n'
        'sonde_syscall_calls_total{error_type="EPERM",process_executable_name="dog"} 5\n'
    )


def test_counts_beyond_two_to_the_53_keep_every_digit() -> None:
    assert " 18446744073709551615\n" in page(snapshot(series(CALLS, {}, np.array([2**64 - 1], np.uint64))))


def test_the_resource_is_target_info() -> None:
    text = page(snapshot(series(CALLS, {}, [1]), service__name="sonde", host__name="h"))
    assert 'target_info{host_name="h",service_name="sonde"} 1\n' in text
    assert text.endswith("sonde_syscall_calls_total 1\n")


def test_the_overflow_says_so() -> None:
    found = samples(page(snapshot(series(CALLS, {NAME: ["a", None], OVERFLOW: [None, True]}, [1, 2]))))
    assert found["sonde_syscall_calls_total", frozenset({("otel_metric_overflow", "true")})] == 2


@pytest.mark.parametrize(
    ("value", "written"),
    [(math.nan, "NaN"), (math.inf, "+Inf"), (-math.inf, "-Inf"), (0.1, "0.1"), (1e-7, "1e-07")],
)
def test_gauges_are_written_as_go_reads_them(value: float, written: str) -> None:
    gauge = Metric("load", "gauge", "", "Load.", value="")
    assert page(snapshot(series(gauge, {}, [value]))).endswith(f"\nload {written}\n")


def test_a_histogram_counts_up_to_exact_bounds() -> None:
    counts = np.zeros((1, BUCKETS), np.uint64)
    # Bucket 20 ends at 2**-19.5 s: above 2**-20, not above 2**-19. The last has no end.
    counts[0, [0, 19, 20, 87]] = [1, 2, 4, 8]
    found = samples(page(snapshot(series(DURATION, {NAME: ["cat"]}, counts, [3_000_000_000]))))
    label = (NAME.replace(".", "_"), "cat")
    below = {
        float(dict(labels)["le"]): value
        for (name, labels), value in found.items()
        if name.endswith("_bucket")
    }
    assert list(below)[:2] == [2.0**-20, 2.0**-19]
    assert [below[bound] for bound in (2.0**-20, 2.0**-19, 2.0**5, math.inf)] == [3, 7, 7, 15]
    assert found["sonde_syscall_duration_seconds_sum", frozenset({label})] == 3
    assert found["sonde_syscall_duration_seconds_count", frozenset({label})] == 15


@pytest.mark.parametrize("most", [0, 1, 5, 13, 26, 1000])
def test_the_bounds_are_no_more_than_wanted(most: int) -> None:
    text = page(snapshot(many(DURATION, 3)), classic_buckets=most)
    bounds = {
        line for line in text.splitlines() if "_bucket{" in line and "program-0" in line and "read" in line
    }
    assert 2 <= len(bounds) <= max(most, 1) + 1


def test_a_histogram_of_few_buckets_has_what_there_is() -> None:
    small = Metric("size", "histogram", "By", "Sizes.", value="", scale=0)
    found = samples(page(snapshot(series(small, {}, [[1, 2, 4]]))))
    bounds = {dict(labels)["le"]: value for (name, labels), value in found.items() if "bucket" in name}
    assert {"2.0": 1, "4.0": 3, "+Inf": 7} == bounds
    assert math.isnan(found["size_bytes_sum", frozenset()])


def test_nothing_is_written_for_a_metric_without_series() -> None:
    assert (
        page(
            snapshot(series(CALLS, {}, np.zeros(0, np.uint64)), series(DURATION, {}, np.zeros(0, np.uint64)))
        )
        == ""
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        (b"caf\xe9".decode(errors="surrogateescape"), "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("\u2028\u202e\x85", "\\u2028\\u202e\\u0085"),
        ("Füße 猫 \\x2d \\\\server", "Füße 猫 \\x2d \\\\server"),
        ("a\\xff", "a\\\\xff"),
        ("\x00", "\\x00"),
    ],
)
def test_what_cannot_be_printed_becomes_visible(text: str, expected: str) -> None:
    assert expected == unambiguous(text)


PIECES = ["\\", "x", "f", "u", "0", "n", "\n", "\x85", "\udcff", "\udc85", "é"]


@pytest.mark.parametrize("write", [unambiguous, encodable])
def test_no_two_texts_become_one(write: Callable[[str], str]) -> None:
    texts = ["".join(each) for length in range(5) for each in itertools.product(PIECES, repeat=length)]
    texts += [
        f"{before}\\{after}"
        for before in ("", "\\", "\\\\")
        for after in ("u0085", "xff", "x85", "x2d", "ud800")
    ]
    assert len({write(text) for text in set(texts)}) == len(set(texts))


NASTY = st.text(st.characters(codec=None), max_size=20)


@given(st.lists(NASTY, min_size=1, max_size=5, unique_by=unambiguous), NASTY)
@example(['"} 1\nevil 2 #', "\\", '\\"', "%d%s", "{}", "\x1b[2J", "\udcff", "\u2028"], "100 %\\\n")
def test_no_text_breaks_a_line_or_a_parser(names: list[str], help_text: str) -> None:
    counter = Metric("calls", "counter", "", help_text or "x", value="")
    histogram = Metric("took", "histogram", "s", help_text or "x", value="")
    values = list(range(1, len(names) + 1))
    text = page(
        snapshot(
            series(counter, {NAME: names}, values),
            series(histogram, {NAME: names}, [[each] * 4 for each in values]),
        )
    )
    assert text.isascii() or text.encode()
    assert all(line.isprintable() for line in text.split("\n"))
    found = samples(text)
    for name, value in zip(names, values, strict=True):
        labels = frozenset({("process_executable_name", unambiguous(name))} if name else ())
        assert found["calls_total", labels] == value
        assert found["took_seconds_count", labels] == 4 * value


def test_series_that_would_be_written_the_same_are_added_up() -> None:
    names = ["name", b"name", "other"]
    found = samples(page(snapshot(series(CALLS, {NAME: names}, [3, 5, 7]))))
    assert {
        frozenset({("process_executable_name", "name")}): 8.0,
        frozenset({("process_executable_name", "other")}): 7.0,
    } == {labels: value for (_, labels), value in found.items()}
    counts = np.arange(3 * BUCKETS, dtype=np.uint64).reshape(3, BUCKETS)
    found = samples(page(snapshot(series(DURATION, {NAME: names}, counts, [10**9] * 3))))
    label = frozenset({("process_executable_name", "name")})
    assert found["sonde_syscall_duration_seconds_count", label] == counts[:2].sum()
    assert found["sonde_syscall_duration_seconds_sum", label] == 2


def test_two_tables_of_one_metric_are_one_family_without_repetition() -> None:
    first, second = series(CALLS, {NAME: ["a", "b"]}, [1, 2]), series(CALLS, {NAME: ["b", "c"]}, [9, 3])
    text = page(snapshot(first, second))
    assert text.count("# TYPE") == 1
    assert [1, 2, 3] == list(samples(text).values())


def test_attributes_that_share_a_label_share_its_value() -> None:
    found = samples(page(snapshot(series(CALLS, {"a.b": ["x", None], "a_b": ["y", "z"]}, [1, 2]))))
    assert [{("a_b", "x;y")}, {("a_b", "z")}] == [set(labels) for _, labels in found]


def test_values_of_all_types_become_text() -> None:
    attributes = {"b": [True], "n": [np.bool_(False)], "i": [7], "f": [0.5], "raw": [b"\xffx"], "empty": [""]}
    ((_, labels),) = samples(page(snapshot(series(CALLS, attributes, [1]))))
    assert {"b": "true", "n": "false", "i": "7", "f": "0.5", "raw": "\\xffx"} == dict(labels)


def test_ten_thousand_series_are_all_there() -> None:
    calls = many(CALLS, 10_007)
    found = samples(page(snapshot(calls)))
    assert len(found) == 10_007
    assert sum(found.values()) == float(calls.values.sum())
