"""The listening socket and its connections: a thread for each, few at a time."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sonde.errors import ConfigError, KernelError, PermissionDeniedError
from sonde.exporters.prometheus.answers import Answer, Asked
from sonde.exporters.prometheus.connection import Connection
from sonde.exporters.prometheus.settings import SECTION, PrometheusSettings, spelled
from sonde.exporters.prometheus.tally import Tally

if TYPE_CHECKING:
    from ssl import SSLContext

BACKLOG = 64
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
EXHAUSTED_PAUSE_S = 0.5
FULL_PAUSE_S = 0.05
ENDED_S = 1.0
"""For the threads of connections that were aborted, which wait for nothing any more."""

BURST_S = 1.0
"""So much of a second's requests may come at once."""


class Pace:
    """Lets so many pass a second; who is beyond that waits, until ``stopped``."""

    def __init__(self, per_s: float, *, stopped: threading.Event) -> None:
        self._step_s = 1 / per_s
        self._stopped = stopped
        self._lock = threading.Lock()
        self._next = 0.0

    def wait_turn(self) -> None:
        """Wait until one more may pass."""
        with self._lock:
            now = time.monotonic()
            self._next = max(self._next, now - BURST_S) + self._step_s
            wait_s = self._next - now
        if wait_s > 0:
            self._stopped.wait(wait_s)


class Server:
    """Accepts connections and gives each a thread.

    It listens from the start and accepts from ``start`` on. Raises ConfigError and KernelError with one sentence
    where it cannot listen. Closed by ``drain`` and ``close``.
    """

    def __init__(
        self,
        settings: PrometheusSettings,
        *,
        tally: Tally,
        answer: Callable[[Asked], Answer],
        delivered: Callable[[Answer], None],
    ) -> None:
        settings.check()
        self._settings = settings
        self._tally = tally
        self._answer = answer
        self._delivered = delivered
        self._stopping = threading.Event()
        self._lock = threading.Condition()
        self._open: dict[Connection, threading.Thread] = {}
        self._accepts = Pace(settings.requests_per_s, stopped=self._stopping)
        self._requests = Pace(settings.requests_per_s, stopped=self._stopping)
        self._tls = _tls(settings) if settings.tls_certificate else None
        self._socket = _listen(settings)
        host, port = self._socket.getsockname()[:2]
        self.address = spelled(host, port)
        self.port: int = port
        self._thread = threading.Thread(target=self._accept, name="sonde-prometheus", daemon=True)

    @property
    def url(self) -> str:
        """Give where it is found."""
        return f"{'https' if self._tls else 'http'}://{self.address}"

    @property
    def connections(self) -> int:
        """Give how many are open."""
        return len(self._open)

    @property
    def is_serving(self) -> bool:
        """Tell whether it accepts connections."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to accept."""
        self._thread.start()

    def renew(self) -> None:
        """Read certificates again, for connections from now on; raises ConfigError, and keeps those that it has."""
        if self._tls is not None:
            self._tls = _tls(self._settings)

    def drain(self, *, timeout_s: float) -> None:
        """Stop listening, end idle connections, and let answers that are under way end for so long."""
        deadline = time.monotonic() + timeout_s
        self._stopping.set()
        try:
            # It wakes the thread that waits in accept().
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        self._socket.close()
        for connection in self._left():
            if connection.is_idle:
                connection.abort()
        self._join(deadline)

    def close(self) -> None:
        """End all connections, after ``drain``."""
        for connection in self._left():
            connection.abort()
        self._join(time.monotonic() + ENDED_S)

    def _left(self) -> dict[Connection, threading.Thread]:
        with self._lock:
            return dict(self._open)

    def _join(self, deadline: float) -> None:
        for thread in self._left().values():
            thread.join(max(0.0, deadline - time.monotonic()))

    # ---- accepting ------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._socket.accept()
            except OSError as error:
                if self._stopping.is_set():
                    return
                self._tally.fail("accept")
                if error.errno in EXHAUSTED:
                    self._stopping.wait(EXHAUSTED_PAUSE_S)
                continue
            self._serve(client)
            self._accepts.wait_turn()

    def _serve(self, client: socket.socket) -> None:
        if not self._make_room():
            client.close()
            return
        connection = Connection(
            client,
            settings=self._settings,
            tls=self._tls,
            tally=self._tally,
            answer=self._answer,
            delivered=self._delivered,
            wait_turn=self._requests.wait_turn,
            is_stopping=self._stopping.is_set,
        )
        thread = threading.Thread(
            target=self._run, args=(connection,), name="sonde-prometheus-client", daemon=True
        )
        with self._lock:
            self._open[connection] = thread
        try:
            thread.start()
        except RuntimeError:
            # The kernel gives no more threads.
            self._tally.fail("threads")
            self._forget(connection)
            client.close()

    def _run(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            self._open.pop(connection, None)
            self._lock.notify()

    def _make_room(self) -> bool:
        """Wait until there is room for one more connection; False when it is time to end.

        While all are being answered, who comes next waits in the kernel's queue, in turn.
        """
        with self._lock:
            while len(self._open) >= self._settings.connections_max and not self._evict():
                self._lock.wait(FULL_PAUSE_S)
                if self._stopping.is_set():
                    return False
        return True

    def _evict(self) -> bool:
        """End the connection that has not moved for longest, so that slow and idle clients shut nobody out."""
        still = [(moved_at, each) for each in self._open if (moved_at := each.moved_at) is not None]
        if not still:
            return False
        _, longest = min(still, key=lambda pair: pair[0])
        longest.abort()
        del self._open[longest]
        self._tally.fail("evicted")
        return True


def _listen(settings: PrometheusSettings) -> socket.socket:
    """Open the listening socket; raises ConfigError and KernelError."""
    subject = settings.address
    # As bytes: Python encodes text as an international name, with tables of a quarter of a megabyte.
    host = settings.host.encode() if settings.host.isascii() else settings.host
    try:
        family = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][
            0
        ]
    except (OSError, ValueError) as error:
        raise ConfigError(SECTION, key="listen", reason=f"{settings.host} is no address ({error})") from None
    try:
        return socket.create_server(
            (settings.host, settings.port),
            family=family,
            backlog=BACKLOG,
            dualstack_ipv6=settings.host == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        number = error.errno or errno.EIO
        if number == errno.EADDRINUSE:
            hint = "another program listens there: end it, or choose another port"
        elif number == errno.EADDRNOTAVAIL:
            hint = "this machine has no such address"
        elif number == errno.EACCES:
            raise PermissionDeniedError(
                number, operation="listen on", subject=subject, capability="CAP_NET_BIND_SERVICE"
            ) from None
        else:
            hint = ""
        raise KernelError(number, operation="listen on", subject=subject, hint=hint) from None


def _tls(settings: PrometheusSettings) -> SSLContext:
    """Load the certificate; raises ConfigError."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    key, path = "tls_certificate", settings.tls_certificate
    try:
        assert settings.tls_certificate is not None
        # An encrypted key would ask the terminal for its password.
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password=lambda: b"")
        if settings.tls_client_ca:
            key, path = "tls_client_ca", settings.tls_client_ca
            context.load_verify_locations(settings.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        # Which of the two files it was, OpenSSL does not say.
        files = f"{path} or {settings.tls_key}" if key == "tls_certificate" else f"{path}"
        raise ConfigError(SECTION, key=key, reason=f"{files} cannot be used ({error})") from None
    return context
