"""What a configuration would make the agent do, for a person and for machines; secrets are not in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sonde.agent.config.config import Config
from sonde.agent.config.kind import Duration, Share
from sonde.agent.config.otlp import SIGNALS
from sonde.agent.config.probe import RunConfig
from sonde.agent.config.size import size_text
from sonde.probe import Stream
from sonde.probes import probe as find_probe

if TYPE_CHECKING:
    from sonde.views.line import Line


def report(config: Config) -> dict[str, Any]:
    """Give it as values that JSON can express."""
    return {
        "file": config.path or None,
        "warnings": list(config.warnings),
        "runs": [_run(run) for run in config.runs],
        "exporters": {name: list(_exporter(config, name)) for name in config.exporters},
        "interval_s": config.interval_s,
        "series_max": config.series.max,
        "series_by": list(config.series.by),
        "budget_cpu": config.budget.cpu,
        "user": config.process.user,
        "resource": dict(config.resource),
    }


def _run(run: RunConfig) -> dict[str, Any]:
    output = find_probe(run.probe).output(run.output)
    chosen = run.selection
    only = {
        "pid": chosen.pid,
        "children": chosen.children,
        "cgroup": chosen.cgroup,
        "comm": chosen.comm,
        "interfaces": list(chosen.interfaces),
        "exclude_interfaces": list(chosen.exclude_interfaces),
    }
    return {
        "probe": run.probe,
        "output": run.output,
        "kind": "stream" if isinstance(output, Stream) else "table",
        "summary": output.summary,
        "cost_ns": output.cost_ns or None,
        "knobs": dict(run.values),
        "only": {name: value for name, value in only.items() if value},
        "own": chosen.own,
        "max_entries": run.max_entries,
        "rate_max": run.rate_max,
    }


def report_lines(config: Config) -> Iterator[Line]:
    """Say it to a person."""
    where = config.path if config.path.isprintable() else repr(config.path)
    what = (where, "  is right") if where else ("no file was given", "  defaults and environment are right")
    yield [(what[0], "bold"), (what[1], "green")]
    for warning in config.warnings:
        yield [("  ! ", "yellow"), (warning, "yellow")]
    yield [("measured", "bold"), (f"  every {_time(config.read_interval_s)}", "dim")]
    for run in config.runs:
        yield from _run_lines(run)
    if not config.runs:
        yield [("  nothing: no probe is enabled", "yellow")]
    yield [("exported", "bold")]
    for name in config.exporters:
        for text in _exporter(config, name):
            yield [("  ", ""), (f"{name:<10}", "cyan"), (f"  {text}", "")]
    if not config.exporters:
        yield [("  nowhere: set otlp.endpoint, prometheus.listen or file.path", "yellow")]
    yield [("bounded", "bold")]
    by = ", ".join(config.series.by) or "nothing: one series of each metric's own attributes"
    yield [("  ", ""), ("series    ", "cyan"), (f"  {config.series.max:,} of each metric, by {by}", "")]
    cpu = "no bound" if config.budget.cpu is None else f"{Share().write(config.budget.cpu)[1:-1]} of one core"
    yield [("  ", ""), ("cpu       ", "cyan"), (f"  {cpu}, everything that sonde does", "")]


def _run_lines(run: RunConfig) -> Iterator[Line]:
    told = _run(run)
    yield [("  ", ""), (run.name, "cyan"), (f"  {told['summary']}", "")]
    parts = [told["kind"]]
    if told["cost_ns"]:
        parts.append(f"{told['cost_ns']:g} ns each event")
    if run.rate_max is not None:
        parts.append(f"{run.rate_max:,} records in a second at most")
    if run.max_entries is not None:
        parts.append(size_text(run.max_entries) if told["kind"] == "stream" else f"{run.max_entries:,} rows")
    if find_probe(run.probe).on_interfaces and not run.selection.interfaces:
        parts.append("all interfaces but loopback")
    limits = {**told["only"], **told["knobs"]}
    if limits:
        parts.append(", ".join(f"{name} {_plain(value)}" for name, value in limits.items()))
    yield [(f"    {'; '.join(parts)}", "dim")]


def _exporter(config: Config, name: str) -> Iterator[str]:
    if name == "prometheus":
        yield _prometheus(config)
    elif name == "file":
        chosen = config.file
        what = " and ".join(word for word in SIGNALS if getattr(chosen, word))
        where = "standard output" if chosen.path == "-" else repr(chosen.path)
        kept = f", {chosen.rotate_keep} more of {size_text(chosen.rotate_size_bytes)} are kept"
        yield f"{what} to {where}{kept if chosen.path != '-' else ''}"
    else:
        for signal in SIGNALS:
            delivery = config.otlp.delivery(signal)
            if delivery is not None:
                headers = f", headers {', '.join(delivery.headers)}" if delivery.headers else ""
                as_what = f", {config.otlp.temporality}{_interval(config)}" if signal == "metrics" else ""
                yield f"{signal} to {_url(config, signal)} by {delivery.protocol}{as_what}{headers}"


def _url(config: Config, signal: str) -> str:
    """Give where requests really go: with HTTP to a path below the endpoint, or just to the signal's own."""
    delivery = getattr(config.otlp.settings(), signal)
    if delivery.protocol == "grpc":
        return str(delivery.endpoint)
    target = delivery.target(signal)
    return f"{'https' if target.is_tls else 'http'}://{target.authority}{target.path}"


def _interval(config: Config) -> str:
    return f", every {_time(config.otlp.interval_s)}" if config.otlp.interval_s is not None else ""


def _prometheus(config: Config) -> str:
    chosen = config.prometheus
    scheme = "https" if chosen.tls_certificate else "http"
    guards = []
    if chosen.token or chosen.token_file:
        guards.append("with a token")
    if chosen.tls_client_ca:
        guards.append("with a client's certificate")
    return " ".join([f"{scheme}://{chosen.listen}/metrics", *guards])


def _plain(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return text if text.isprintable() else repr(text)


def _time(seconds: float) -> str:
    return Duration().write(seconds)[1:-1]
