"""rotel: an OTLP receiver that is not ours; what it takes it sends on, decoded and encoded again, to one of ours."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from other_server import started
from otlp.receiver import HttpReceiver, closed_port, http_receiver, until


@dataclass
class Rotel:
    """A running rotel: its ports, and what it has sent on."""

    grpc_port: int
    http_port: int
    sink: HttpReceiver
    log: Path

    def endpoint(self, protocol: str) -> str:
        return f"http://127.0.0.1:{self.grpc_port if protocol == 'grpc' else self.http_port}"


def program() -> Path:
    """Find rotel's program in its Python package, which starts daemons only."""
    found = importlib.util.find_spec("rotel")
    assert found is not None, "the extra dev brings rotel"
    assert found.origin is not None
    return Path(found.origin).with_name("rotel-agent")


@contextmanager
def rotel(folder: Path) -> Iterator[Rotel]:
    """Run rotel on loopback."""
    with http_receiver() as sink, closed_port() as grpc_port, closed_port() as http_port:
        made = Rotel(grpc_port, http_port, sink, folder / "rotel.log")
        with started(_command(made, folder), made.log) as process:
            until(lambda: process.poll() is not None or (listens(grpc_port) and listens(http_port)))
            assert process.poll() is None, f"rotel does not start: {made.log.read_text()}"
            yield made


def _command(made: Rotel, folder: Path) -> list[str]:
    options = {
        "otlp-grpc-endpoint": f"127.0.0.1:{made.grpc_port}",
        "otlp-http-endpoint": f"127.0.0.1:{made.http_port}",
        "exporter": "otlp",
        "otlp-exporter-endpoint": f"http://127.0.0.1:{made.sink.port}",
        "otlp-exporter-protocol": "http",
        "otlp-exporter-compression": "none",
        "batch-timeout": "50ms",
        "pid-file": str(folder / "rotel.pid"),
        "log-file": str(folder / "rotel-daemon.log"),
    }
    return [str(program()), "start", *(f"--{name}={value}" for name, value in options.items())]


def listens(port: int) -> bool:
    import socket

    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
