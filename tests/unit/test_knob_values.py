"""Values of knobs from Python: texts are read as those of flags are, and what is none is one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from sonde.errors import KnobError
from sonde.probes import probe
from sonde.run.knob_values import known, refuse_misplaced


@pytest.mark.parametrize(
    ("name", "output", "value", "read"),
    [
        ("cpu", "samples", {"frequency": "99"}, {"frequency": 99}),
        ("cpu", "samples", {"frequency": 99}, {"frequency": 99}),
        ("syscalls", "calls", {"min_latency": "1ms"}, {"min_latency": 1_000_000}),
        ("syscalls", "calls", {"min_latency": 7, "rate_max": 100}, {"min_latency": 7, "rate_max": 100}),
        ("tcp", "connections", {"ports": "80,443-450"}, {"ports": ("80", "443-450")}),
        ("tcp", "connections", {"ports": [80], "failed": None}, {"ports": [80]}),
    ],
)
def test_values_are_as_on_the_command_line(
    name: str, output: str, value: dict[str, Any], read: dict[str, Any]
) -> None:
    assert known(value, probe(name), probe(name).output(output)) == read


@pytest.mark.parametrize(
    ("name", "output", "value", "told"),
    [
        ("cpu", "samples", {"frequency": "x"}, "set frequency of probe cpu: 'x' is no frequency: give 1 to 999 times a second"),
        ("tcp", "rtt", {"port": 80}, "set port of probe tcp: there is no such knob: valid: failed, ip_version, ports"),
        ("syscalls", "latency", {"sample": 0}, "set sample of probe syscalls: 0 is no sample: 1 is all"),
        ("tcp", "rtt", {"failed": True}, "set failed of probe tcp: output rtt has no such knob: it goes with connections or processes or peers"),
        ("syscalls", "latency", {"min_latency": 7}, "set min_latency of probe syscalls: output latency has no such knob: it goes with calls"),
    ],
)  # fmt: skip
def test_what_is_none_or_changes_nothing_is_refused(
    name: str, output: str, value: dict[str, Any], told: str
) -> None:
    asked = probe(name)
    with pytest.raises(KnobError) as refused:
        refuse_misplaced(known(value, asked, asked.output(output)), asked, asked.output(output))
    assert str(refused.value) == told


def test_a_knob_that_is_off_goes_with_all() -> None:
    asked = probe("tcp")
    refuse_misplaced({"failed": False}, asked, asked.output("rtt"))
