"""What OTLP costs: CPU seconds of exporting 10,000 series, from a snapshot to a receiver's answer."""

from __future__ import annotations

import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonde.records.metrics import Snapshot

SERIES = 10_000
BUCKETS, USED = 88, range(30, 42)


def _column(values: list[Any]) -> Any:
    import numpy as np

    column = np.empty(len(values), dtype=object)
    column[:] = values
    return np.ma.masked_array(column, mask=[value is None for value in values])


def snapshot(turn: int, *, kind: str) -> Snapshot:
    """Make 10,000 series of one metric, of executables, units, calls and processes, all of which have changed."""
    import numpy as np

    from sonde.records.metrics import Metric, Series, Snapshot

    is_histogram = kind == "histogram"
    metric = Metric(
        name="sonde.syscall.duration" if is_histogram else "sonde.syscall.count",
        kind="histogram" if is_histogram else "counter",
        unit="s" if is_histogram else "{call}",
        description="System calls.",
        value="count",
        scale=1,
        exponent=-30,
        factor=1e-9 if is_histogram else 1,
    )
    at = range(SERIES)
    attributes = {
        "process.executable.name": _column([f"executable-{each % 300}" for each in at]),
        "sonde.systemd.unit": _column([f"unit-{each % 100}.service" if each % 3 else None for each in at]),
        "sonde.syscall.name": _column([f"syscall_{each % 40}" for each in at]),
        "process.pid": _column(list(at)),
    }
    counts = np.arange(SERIES, dtype=np.uint64) + np.uint64(turn)
    values = counts
    if is_histogram:
        values = np.zeros((SERIES, BUCKETS), np.uint64)
        values[:, USED.start : USED.stop] = counts[:, None]
    now_ns = time.time_ns()
    beside = counts if is_histogram else None
    series = Series(metric, attributes, values, np.full(SERIES, now_ns), now_ns, totals=beside, maxima=beside)
    return Snapshot((series,), now_ns, {"service.name": "sonde"})


def _answer_nothing(_request: Any, _context: Any) -> bytes:
    return b""


def _receive(protocol: str, told: Any) -> None:
    """Answer every request, in a process of its own, as long as the one that started it lives."""
    started_by = multiprocessing.parent_process()
    assert started_by is not None
    if protocol == "grpc":
        from concurrent.futures import ThreadPoolExecutor

        import grpc

        service = "opentelemetry.proto.collector.metrics.v1.MetricsService"
        export: Any = grpc.unary_unary_rpc_method_handler(_answer_nothing)
        server = grpc.server(ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": export}),))
        told.send(server.add_insecure_port("127.0.0.1:0"))
        server.start()
        started_by.join()
        return
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        told.send(listening.server_address[1])
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        started_by.join()
        listening.shutdown()


@contextmanager
def receiver(protocol: str) -> Iterator[int]:
    """Run a receiver that takes everything; gives its port."""
    # A fork of a process with threads and gRPC in it would hang.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_receive, args=(protocol, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def export_cpu_s(protocol: Any, *, kind: str, rounds: int) -> tuple[float, float]:
    """Export again and again: CPU seconds of the first time, and the median of the others."""
    from sonde.exporters.otlp import OtlpExporter, OtlpSettings
    from sonde.exporters.otlp.settings import OtlpDelivery

    took = []
    with receiver(protocol) as port:
        delivery = OtlpDelivery(f"http://127.0.0.1:{port}", protocol=protocol)
        with OtlpExporter(OtlpSettings(metrics=delivery)) as exporter:
            for turn in range(rounds + 1):
                of = snapshot(turn, kind=kind)
                begun = time.process_time()
                exporter.export(of)
                while exporter.status().points_waiting:
                    time.sleep(0.002)
                took.append(time.process_time() - begun)
            assert exporter.status().points_delivered == SERIES * (rounds + 1), exporter.status()
    return took[0], statistics.median(took[1:])


def report(*, rounds: int) -> None:
    """Print both protocols, counters and histograms."""
    for protocol in ("grpc", "http/protobuf"):
        for kind in ("counter", "histogram"):
            first, later = export_cpu_s(protocol, kind=kind, rounds=rounds)
            name = f"{SERIES:,} {kind}s, {protocol}"
            print(f"OTLP, {name:38}{later:.3f} s of CPU (the first time {first:.3f} s)")


if __name__ == "__main__":
    report(rounds=7)
