"""OTLP over HTTP with protobuf bodies: the standard library's client, one connection, kept open between requests."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import select
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from sonde.exporters.otlp.credentials import Credentials
from sonde.exporters.otlp.retry import retry_after_s
from sonde.exporters.otlp.transport import SPEAKS_NO_TLS, Outcome, shortened
from sonde.version import VERSION

if TYPE_CHECKING:
    from sonde.exporters.otlp.settings import OtlpDelivery
    from sonde.exporters.otlp.signal import Signal

RETRYABLE = frozenset({429, 502, 503, 504})
"""OTLP specification 1.7, "Retryable Response Codes"; all others are final."""

CLIENT_CERTIFICATE = "a client's certificate (client_certificate and client_key)"
HINTS = {
    "WRONG_VERSION_NUMBER": SPEAKS_NO_TLS,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": f"the receiver wants {CLIENT_CERTIFICATE}",
    "TLSV1_ALERT_UNKNOWN_CA": "the receiver does not know the authority of the client's certificate",
}
"""What to do about failures whose names say less, by OpenSSL's name."""

ANSWER_BYTES_MAX = 65_536
GZIP_LEVEL = 3  # level 6 takes twice the time for a fifth less


class Lines:
    """A file that knows which line was read last."""

    def __init__(self, file: Any) -> None:
        self.file, self.last = file, b""

    def readline(self, limit: int = -1) -> bytes:
        """Read one."""
        self.last = self.file.readline(limit)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class Response(http.client.HTTPResponse):
    """A response whose headers came to their end: one that was cut off does not say what became of a request."""

    def begin(self) -> None:
        """Read status and headers; raises IncompleteRead where the connection ended amid them (RFC 9112, section 8)."""
        lines = Lines(self.fp)
        self.fp = lines  # type: ignore[assignment]
        super().begin()
        self.fp = lines.file
        if lines.last not in (b"\r\n", b"\n"):
            raise http.client.IncompleteRead(lines.last)


class Connection(http.client.HTTPConnection):
    """A connection whose socket is at hand while it connects and greets the receiver, so that this can be ended, too."""

    response_class = Response

    def __init__(self, host: str, port: int, *, timeout_s: float, context: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._context, self._deadline = context, time.monotonic() + timeout_s
        self._is_over = False

    def end(self) -> None:
        """Shut it, from another thread: whatever waits for it ends, and it connects to nothing any more."""
        self._is_over, sock = True, self.sock
        if sock is not None:
            # Not TLS's own shutdown, which is not for another thread.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def connect(self) -> None:
        """Connect, and greet; raises OSError, which ssl.SSLError is."""
        self._connect()
        if self._context is not None:
            greeting = self._context.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            self.sock = greeting
            greeting.do_handshake()

    def _connect(self) -> None:
        failed = OSError(f"{self.host} has no address")
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            # The time is for all addresses together.
            left_s = self._deadline - time.monotonic()
            if self._is_over or left_s <= 0:
                break
            try:
                self.sock = socket.socket(family, kind, protocol)
                self.sock.settimeout(left_s)
                self.sock.connect(address)
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                failed = error
                self.close()
            else:
                break
        if self._is_over:
            self.close()
            raise TimeoutError
        if self.sock is None:
            raise failed
        self.sock.settimeout(self.timeout)


class HttpTransport:
    """Posts requests. It follows no redirect and uses no proxy: the endpoint is where requests go."""

    def __init__(self, delivery: OtlpDelivery, signal: Signal) -> None:
        self._signal = signal
        self._target = delivery.target(signal.name)
        self._is_gzip = delivery.compression == "gzip"
        self._credentials = Credentials(delivery)
        self._context: ssl.SSLContext | None = None
        self._connection: Connection | None = None
        self._is_aborted = self._is_overdue = self._is_answered = False
        self._headers = {
            "Content-Type": "application/x-protobuf",
            "User-Agent": f"sonde/{VERSION}",
            **({"Content-Encoding": "gzip"} if self._is_gzip else {}),
            **delivery.headers,
        }

    @property
    def destination(self) -> str:
        """Give the URL."""
        scheme = "https" if self._target.is_tls else "http"
        return f"{scheme}://{self._target.authority}{self._target.path}"

    def send(self, body: bytes, *, timeout_s: float) -> Outcome:
        """Post one request. The time is for all of it: a receiver that sends a byte a second gets no longer."""
        if self._is_gzip:
            body = gzip.compress(body, GZIP_LEVEL, mtime=0)
        self._is_overdue, begun = False, time.monotonic()
        watchdog = threading.Timer(timeout_s, self._end_attempt)
        watchdog.daemon = True
        try:
            watchdog.start()
        except RuntimeError as error:
            return Outcome("no thread", str(error), is_retryable=True)
        try:
            return self._exchange(body, timeout_s)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if self._is_aborted or self._is_overdue or isinstance(error, TimeoutError):
                waited_s = time.monotonic() - begun
                # Its time, but where it was ended before: the same words for the same trouble.
                waited_s = timeout_s if waited_s > 0.9 * timeout_s else waited_s
                return Outcome("timeout", f"no answer within {waited_s:.3g} s", is_retryable=True)
            # Who has answered before speaks what we do.
            return _failure(error, may_speak_tls=not (self._target.is_tls or self._is_answered))
        finally:
            watchdog.cancel()

    def _exchange(self, body: bytes, timeout_s: float) -> Outcome:
        connection = self._connected(timeout_s)
        self._check_time()
        connection.request("POST", self._target.path, body=body, headers=self._headers)
        response = connection.getresponse()
        self._is_answered = True
        try:
            answer = response.read(ANSWER_BYTES_MAX)
        except http.client.IncompleteRead as error:
            # The status was its answer; asking again would tell it twice.
            answer = error.partial
        if response.will_close or not response.isclosed():
            # What is left of a long answer would be taken for the next one.
            self.close()
        if 200 <= response.status < 300:
            return self._delivered(answer)
        return Outcome(
            f"status {response.status}",
            shortened(f"{response.reason} {_words(answer)}"),
            is_retryable=response.status in RETRYABLE,
            retry_after_s=retry_after_s(response.getheader("Retry-After")),
        )

    def _delivered(self, answer: bytes) -> Outcome:
        try:
            rejected, message = self._signal.rejected_of(self._signal.parse(answer))
        except DecodeError:
            # The status says that it was taken; some receivers add words of their own.
            return Outcome()
        return Outcome(rejected=rejected, message=shortened(message))

    def _connected(self, timeout_s: float) -> Connection:
        if self._target.is_tls and (self._credentials.have_changed() or self._context is None):
            self.close()
            self._context = None
            self._context = self._credentials.context()
        connection = self._connection
        if connection is not None and connection.sock is not None and not _is_ended(connection.sock):
            connection.sock.settimeout(timeout_s)
            return connection
        self.close()
        connection = self._connection = Connection(
            self._target.host, self._target.port, timeout_s=timeout_s, context=self._context
        )
        self._check_time()
        connection.connect()
        return connection

    def _check_time(self) -> None:
        if self._is_aborted or self._is_overdue:
            raise TimeoutError

    def abort(self) -> None:
        """End the attempt that is under way, and every later one."""
        self._is_aborted = True
        self._end_attempt()

    def _end_attempt(self) -> None:
        self._is_overdue = True
        connection = self._connection
        if connection is not None:
            connection.end()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _is_ended(sock: socket.socket) -> bool:
    """Tell whether the receiver has closed a connection on which it has nothing to say."""
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLRDHUP)
    return bool(poll.poll(0))


def _failure(error: OSError | http.client.HTTPException, *, may_speak_tls: bool) -> Outcome:
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Outcome(
            "closed", f"the receiver ended TLS: it may want {CLIENT_CERTIFICATE}", is_retryable=True
        )
    if isinstance(error, ssl.SSLError):
        words = HINTS.get(getattr(error, "reason", ""), "")
        return Outcome("certificate", shortened(words or error.strerror or str(error)), is_retryable=True)
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError):
        more = " without an answer: it may speak TLS there" if may_speak_tls else ""
        return Outcome("closed", f"the receiver closed the connection{more}", is_retryable=True)
    if isinstance(error, http.client.HTTPException):
        return Outcome("closed", f"no valid answer: {shortened(repr(error))}", is_retryable=True)
    return Outcome("unavailable", shortened(error.strerror or str(error)), is_retryable=True)


def _words(answer: bytes) -> str:
    """Give what a refusal says: text, or the message of a google.rpc.Status."""
    from google.rpc.status_pb2 import Status

    try:
        return str(Status.FromString(answer).message)
    except DecodeError:
        return answer.decode(errors="replace")
