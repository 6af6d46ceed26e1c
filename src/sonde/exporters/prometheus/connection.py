"""One client's connection, from its first byte to its end: every wait has a deadline, every size a bound."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import h11

from sonde.exporters.prometheus.answers import Answer, Asked, asked_by, words
from sonde.exporters.prometheus.settings import PrometheusSettings
from sonde.exporters.prometheus.tally import Tally

if TYPE_CHECKING:
    from ssl import SSLContext

RECEIVED_BYTES = 4096
SENT_BYTES = 64 * 1024
DRAINED_BYTES, DRAINED_S = 64 * 1024, 1.0


class Connection:
    """Serves the requests of one client, in one thread; ``abort`` may be called from any other.

    ``moved_at`` is the monotonic time when the client last sent or took something, None while it waits for us.
    ``is_idle`` holds between requests. ``delivered`` is told of each answer that was taken to its end. Closed by
    ``serve``.
    """

    def __init__(
        self,
        client: socket.socket,
        *,
        settings: PrometheusSettings,
        tls: SSLContext | None,
        tally: Tally,
        answer: Callable[[Asked], Answer],
        delivered: Callable[[Answer], None],
        wait_turn: Callable[[], None],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._socket = client
        self._settings = settings
        self._tls = tls
        self._tally = tally
        self._answer = answer
        self._delivered = delivered
        self._wait_turn = wait_turn
        self._is_stopping = is_stopping
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=settings.header_bytes_max)
        self._is_first = True
        self._asked_at = 0.0
        self.is_idle = True
        self.moved_at: float | None = time.monotonic()

    def serve(self) -> None:
        """Answer requests until the client has enough, or we of it."""
        try:
            if self._tls is not None:
                self._shake_hands(self._tls)
            while self._exchange():
                pass
        except TimeoutError:
            self._tally.fail("slow client")
        except OSError:
            # It went away; what it did not take has been counted.
            pass
        finally:
            self._socket.close()

    def abort(self) -> None:
        """End it now: whatever its thread waits for comes back with nothing."""
        try:
            # Not SSLSocket's own, which would forget about TLS while the other thread is using it.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            pass

    # ---- one request --------------------------------------------------------------------------------------------

    def _exchange(self) -> bool:
        """Read a request and answer it; tell whether there may be another."""
        self.is_idle = True
        try:
            request = self._request()
            if request is None:
                return False
            self.is_idle, self.moved_at, self._asked_at = False, None, time.monotonic()
            self._wait_turn()
            asked = asked_by(request)
            if refusal := self._refusal(asked):
                return self._refuse(refusal)
        except h11.RemoteProtocolError as error:
            self._tally.fail("bad request")
            return self._refuse(words(error.error_status_hint, "this is no HTTP that can be answered\n"))
        except TimeoutError:
            self._tally.fail("slow request")
            return self._refuse(words(408, "the request took too long\n"))
        self._send(asked, self._answer(asked))
        if (
            self._http.our_state is not h11.DONE
            or self._http.their_state is not h11.DONE
            or self._is_stopping()
        ):
            return False
        self._http.start_next_cycle()
        return True

    def _request(self) -> h11.Request | None:
        """Read up to the end of the headers; None when the client ends, or is silent for too long."""
        is_begun = bool(self._http.trailing_data[0])
        is_new = self._is_first or is_begun
        limit_s = self._settings.header_timeout_s if is_new else self._settings.idle_timeout_s
        deadline = time.monotonic() + limit_s
        self._is_first = False
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                return event
            if event is not h11.NEED_DATA:
                return None
            try:
                received = self._receive(deadline)
            except TimeoutError:
                if is_begun:
                    raise
                return None
            if not is_begun:
                is_begun = True
                deadline = min(deadline, time.monotonic() + self._settings.header_timeout_s)
            self._http.receive_data(received)

    def _refusal(self, asked: Asked) -> Answer | None:
        """Refuse what is too much before it is read."""
        if asked.header_lines > self._settings.headers_max:
            self._tally.fail("bad request")
            return words(431, f"more than {self._settings.headers_max} headers\n")
        length = asked.headers.get("content-length", "0")
        if length != "0" or "transfer-encoding" in asked.headers:
            self._tally.fail("bad request")
            return words(413, "a request has no body here\n")
        # Of a request without a body the end comes with its headers.
        self._http.next_event()
        return None

    # ---- answering ----------------------------------------------------------------------------------------------

    def _send(self, asked: Asked, answer: Answer, *headers: tuple[str, str]) -> None:
        self.moved_at = time.monotonic()
        deadline = self.moved_at + self._settings.send_timeout_s
        counts = answer.page is not None and asked.method == "GET"
        points = answer.page.points if counts and answer.page is not None else 0
        if counts:
            self._tally.page(points)
        try:
            self._write(h11.Response(status_code=answer.status, headers=_headers(answer, headers)), deadline)
            if asked.method != "HEAD":
                for piece in answer.body:
                    self._write(h11.Data(data=piece), deadline)
            self._write(h11.EndOfMessage(), deadline)
        except OSError as error:
            if counts:
                self._tally.dropped(
                    points, "slow client" if isinstance(error, TimeoutError) else "client gone"
                )
            raise ConnectionAbortedError from error
        if counts:
            self._tally.delivered(points, latency_s=time.monotonic() - self._asked_at)
            self._delivered(answer)

    def _refuse(self, answer: Answer) -> bool:
        """Answer, and have no more of this client."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send(Asked("GET", ""), answer, ("connection", "close"))
            self._drain()
        return False

    def _drain(self) -> None:
        """Take what still comes, within bounds: closing with unread bytes would take our answer from the client."""
        if self._tls is not None:
            return
        self._socket.shutdown(socket.SHUT_WR)
        deadline, drained = time.monotonic() + DRAINED_S, 0
        while drained < DRAINED_BYTES:
            try:
                received = self._receive(deadline)
            except TimeoutError:
                return
            if not received:
                return
            drained += len(received)

    # ---- the socket ---------------------------------------------------------------------------------------------

    def _shake_hands(self, tls: SSLContext) -> None:
        self._socket.settimeout(self._settings.header_timeout_s)
        try:
            wrapped = tls.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
            self._socket = wrapped
            wrapped.do_handshake()
        except OSError as error:
            self._tally.fail("TLS handshake")
            raise ConnectionAbortedError from error

    def _receive(self, deadline: float) -> bytes:
        self._socket.settimeout(_left(deadline))
        received = self._socket.recv(RECEIVED_BYTES)
        self.moved_at = time.monotonic()
        return received

    def _write(self, event: h11.Event, deadline: float) -> None:
        rest = memoryview(self._http.send(event) or b"")
        while rest:
            self._socket.settimeout(_left(deadline))
            rest = rest[self._socket.send(rest[:SENT_BYTES]) :]
            self.moved_at = time.monotonic()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _headers(answer: Answer, more: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return [
        ("content-type", answer.content_type),
        ("content-length", str(answer.size_bytes)),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        *answer.headers,
        *more,
    ]
