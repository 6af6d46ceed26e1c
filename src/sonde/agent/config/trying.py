"""Trying a run's knobs on its probe's object, which is opened and not loaded: needs no capability, asks no kernel."""

from __future__ import annotations

from collections.abc import Iterator

from sonde.agent.config.key import Path
from sonde.agent.config.probe import RunConfig
from sonde.errors import KnobError
from sonde.probes import probe as find_probe


def why_refused(run: RunConfig) -> Iterator[tuple[Path, str]]:
    """Find the knobs that the probe does not take: the key, and the reason."""
    if not run.values:
        return
    from sonde.bpf.object import ObjectSpec
    from sonde.run.packaged import object_of

    probe = find_probe(run.probe)
    with ObjectSpec.open(object_of(probe), name=probe.name) as spec:
        for knob in probe.knobs:
            if knob.name not in run.values:
                continue
            path: Path = ("probes", probe.name, knob.name)
            try:
                if knob.is_global:
                    spec.knobs[knob.symbol or knob.name].value = run.values[knob.name]
                elif probe.configure is not None:
                    probe.configure(spec, run.output, {knob.name: run.values[knob.name]})
            except KnobError as error:
                value = run.values[knob.name]
                which = error.what if isinstance(value, tuple | list) and len(value) > 1 else ""
                yield path, ": ".join(part for part in (which, error.why, error.hint) if part)
