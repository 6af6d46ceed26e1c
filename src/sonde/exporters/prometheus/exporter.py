"""The Prometheus exporter: measures and answers when it is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sonde.errors import ConfigError
from sonde.exporters.exporter import Status
from sonde.exporters.prometheus.answers import Answer, Answers, Health
from sonde.exporters.prometheus.pages import Pages
from sonde.exporters.prometheus.server import Server
from sonde.exporters.prometheus.settings import SECTION, PrometheusSettings, check_token
from sonde.exporters.prometheus.tally import Tally

if TYPE_CHECKING:
    from sonde.records.metrics import Snapshot
    from sonde.records.model import RecordBatch

TOKEN_BYTES_MAX = 4096


class PrometheusExporter:
    """An endpoint that Prometheus scrapes, in threads of its own; it listens as soon as it is made.

    ``snapshot`` is called for each scrape, from one thread, and reads fresh (or gives what it read just now: the page of
    the same snapshot is kept for a moment); without it the newest that was exported is served. ``healthy`` and
    ``ready`` answer ``/healthz`` and ``/readyz``. ``name``, ``log`` and ``export`` are an Exporter's; streams are not for
    Prometheus, so their records are neither offered nor counted. Points are offered when a scrape asks for them.

    Raises ConfigError, and KernelError (the port is taken). Closed by ``close``.
    """

    name = "prometheus"

    def __init__(
        self,
        settings: PrometheusSettings | None = None,
        *,
        snapshot: Callable[[], Snapshot | None] | None = None,
        healthy: Health | None = None,
        ready: Health | None = None,
    ) -> None:
        settings = settings or PrometheusSettings()
        settings.check()
        self._newest: Snapshot | None = None
        self._final_taken = threading.Event()
        self._is_scraped = False
        self._tally = Tally(queue_capacity=settings.connections_max)
        self._pages = Pages(snapshot or self._give_newest, classic_buckets=settings.classic_buckets)
        self._settings = settings
        self._answers = answers = Answers(
            settings,
            token=_token(settings),
            pages=self._pages,
            tally=self._tally,
            healthy=healthy or self._healthy,
            ready=ready or self._ready,
        )
        self._server = Server(settings, tally=self._tally, answer=answers.answer, delivered=self._delivered)
        self._pages.start()
        self._server.start()

    @property
    def url(self) -> str:
        """Give where it is found: ``http://127.0.0.1:9464``, with the real port where 0 was asked for."""
        return self._server.url

    @property
    def port(self) -> int:
        """Give the port it listens on."""
        return self._server.port

    @property
    def is_scraped(self) -> bool:
        """Tell whether anybody has taken a page."""
        return self._is_scraped

    def export(self, snapshot: Snapshot) -> None:
        """Keep the newest."""
        self._newest = snapshot

    def log(self, batch: RecordBatch) -> None:
        """Take no notice: Prometheus has numbers only."""

    def status(self) -> Status:
        """Tell how it does."""
        return self._tally.status(queue_length=self._server.connections)

    def reopen(self) -> None:
        """Read certificates and token again: they hold for connections and requests from now on.

        Raises ConfigError, and then goes on with those that it has.
        """
        token = _token(self._settings)
        self._server.renew()
        self._answers.token = token

    def linger(self, snapshot: Snapshot, *, timeout_s: float) -> bool:
        """Serve this as the last page until one scrape has taken it, or for so long; tell whether one has.

        Nothing is measured any more. Call ``close`` afterwards.
        """
        self._newest = snapshot
        self._pages.freeze(snapshot)
        return self._final_taken.wait(timeout_s)

    def close(self, *, timeout_s: float) -> None:
        """Stop listening, let answers under way end for so long at most, and end; a second time is fine."""
        deadline = time.monotonic() + timeout_s
        self._server.drain(timeout_s=timeout_s)
        self._pages.close(timeout_s=deadline - time.monotonic())
        self._server.close()

    def _give_newest(self) -> Snapshot | None:
        return self._newest

    def _delivered(self, answer: Answer) -> None:
        self._is_scraped = True
        if answer.page is not None and answer.page.is_final:
            self._final_taken.set()

    def _healthy(self) -> tuple[bool, Mapping[str, Any]]:
        return self._server.is_serving, {}

    def _ready(self) -> tuple[bool, Mapping[str, Any]]:
        return self._newest is not None, {}


def _token(settings: PrometheusSettings) -> str | None:
    """Give the token, from its file where it has one; raises ConfigError."""
    if settings.token_file is None:
        return settings.token
    from pathlib import Path

    try:
        with Path(settings.token_file).open("rb") as file:
            content = file.read(TOKEN_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            SECTION, key="token_file", reason=f"{settings.token_file}: {error.strerror}"
        ) from None
    if len(content) > TOKEN_BYTES_MAX:
        raise ConfigError(SECTION, key="token_file", reason=f"{settings.token_file} is longer than a token")
    token = content.decode(errors="replace").strip()
    check_token(token, key="token_file")
    return token
