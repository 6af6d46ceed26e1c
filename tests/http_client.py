"""A client that sends what it likes: for tests of the endpoint against clients that do not keep to the rules."""

from __future__ import annotations

import gzip
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass

DEADLINE_S = 60.0


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        content = gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body
        return content.decode()


def connect(port: int, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> socket.socket:
    plain = socket.create_connection((host, port), timeout=DEADLINE_S)
    return plain if tls is None else tls.wrap_socket(plain, server_hostname="localhost")


def read_reply(client: socket.socket, *, has_body: bool = True) -> Reply:
    """Read one reply, by its length."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = client.recv(65536)
        assert piece, f"closed after {received!r}"
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers["content-length"]) if has_body else 0
    while len(body) < length:
        piece = client.recv(65536)
        assert piece, "closed within the body"
        body += piece
    assert len(body) == length, "more than the body"
    return Reply(int(first.split()[1]), headers, body)


def ask(
    port: int,
    path: str = "/metrics",
    *,
    method: str = "GET",
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    **headers: str,
) -> Reply:
    """Ask once; headers are written with ``_`` for ``-``."""
    lines = [f"{method} {path} HTTP/1.1", "Host: test", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    with connect(port, host=host, tls=tls) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        return read_reply(client, has_body=method != "HEAD")


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {DEADLINE_S:g} s"
        time.sleep(0.01)


def is_ended(client: socket.socket) -> bool:
    """Tell whether the other side has closed, whatever it said before; waits for it."""
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True
