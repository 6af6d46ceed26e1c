"""What the endpoint answers to each request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sonde.exporters.prometheus.accept import chosen, takes_gzip
from sonde.exporters.prometheus.pages import NoPageError, Page, Pages
from sonde.exporters.prometheus.settings import PrometheusSettings
from sonde.exporters.prometheus.tally import Tally

if TYPE_CHECKING:
    import h11

Health = Callable[[], tuple[bool, Mapping[str, Any]]]
"""Tells whether all is well, with details for JSON; it is called from the endpoint's threads and returns at once."""

TEXT = "text/plain; charset=utf-8"
ROOT = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>sonde</title></head><body>
<h1>sonde</h1>
<ul>
<li><a href="/metrics">/metrics</a>: for Prometheus</li>
<li><a href="/healthz">/healthz</a>: does the agent work?</li>
<li><a href="/readyz">/readyz</a>: does it measure?</li>
</ul>
</body></html>
"""
MARGIN = 0.9
"""The share of a scraper's own patience that a measurement may take, so that the page still arrives."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, type and body; ``page`` is set where the body is one."""

    status: int
    content_type: str
    size_bytes: int
    body: Iterable[bytes]
    headers: tuple[tuple[str, str], ...] = ()
    page: Page | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request's method, path and headers; a header that comes twice is one, with a comma, as HTTP says.

    ``header_lines`` is how many lines they were.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    header_lines: int = 0


def asked_by(request: h11.Request) -> Asked:
    """Read a request; the names of its headers are small letters already."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in request.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    # A proxy's request line has a whole URL.
    path = re.sub(r"^[a-z]+://[^/?]*", "", request.target.decode("latin-1"), flags=re.IGNORECASE)
    path = path.partition("?")[0] or "/"
    return Asked(request.method.decode("latin-1"), path, headers, len(request.headers))


def words(status: int, text: str, *headers: tuple[str, str], content_type: str = TEXT) -> Answer:
    """Answer with a short text."""
    body = text.encode(errors="backslashreplace")
    return Answer(status, content_type, len(body), (body,), headers)


class Answers:
    """Knows the pages and who may see them; ``healthy`` and ``ready`` are the agent's own words, ``token`` may change."""

    def __init__(
        self,
        settings: PrometheusSettings,
        *,
        token: str | None,
        pages: Pages,
        tally: Tally,
        healthy: Health,
        ready: Health,
    ) -> None:
        self._settings = settings
        self.token = token
        self._pages = pages
        self._tally = tally
        self._healths = {"/healthz": healthy, "/readyz": ready}

    def answer(self, asked: Asked) -> Answer:
        """Answer a request."""
        self._tally.request()
        health = self._healths.get(asked.path)
        if health is None and asked.path not in ("/", "/metrics"):
            return words(404, "there are /metrics, /healthz and /readyz\n")
        if asked.method not in ("GET", "HEAD"):
            return words(405, "only GET and HEAD\n", ("allow", "GET, HEAD"))
        may_read = self._may_read(asked)
        if health is not None:
            return _told(health, details=may_read)
        if not may_read:
            self._tally.fail("unauthorized")
            return words(401, "a token is needed\n", ("www-authenticate", 'Bearer realm="sonde"'))
        if asked.path == "/":
            return Answer(200, "text/html; charset=utf-8", len(ROOT), (ROOT,))
        return self._metrics(asked)

    def _may_read(self, asked: Asked) -> bool:
        # It may be another one at any moment.
        token = self.token
        if token is None:
            return True
        from hmac import compare_digest

        scheme, _, given = asked.headers.get("authorization", "").partition(" ")
        # In constant time, so that nobody can find the token letter by letter.
        return compare_digest(given.strip().encode(), token.encode()) and scheme.lower() == "bearer"

    def _metrics(self, asked: Asked) -> Answer:
        wanted = chosen(asked.headers.get("accept", ""))
        try:
            page = self._pages.page(wanted, timeout_s=self._patience_s(asked))
        except NoPageError as error:
            self._tally.no_page(error.cause, str(error))
            return words(503, f"{error}\n")
        vary = ("vary", "accept, accept-encoding")
        if takes_gzip(asked.headers.get("accept-encoding", "")):
            packed = (page.compressed,)
            return Answer(
                200, wanted.value, len(packed[0]), packed, (("content-encoding", "gzip"), vary), page
            )
        return Answer(200, wanted.value, page.size_bytes, page.plain(), (vary,), page)

    def _patience_s(self, asked: Asked) -> float:
        """Prometheus says how long it will wait."""
        ours = self._settings.scrape_timeout_s
        said = asked.headers.get("x-prometheus-scrape-timeout-seconds", "")
        if re.fullmatch(r"\d{1,6}(\.\d{1,9})?", said, re.ASCII):
            return min(ours, float(said) * MARGIN)
        return ours


def _told(health: Health, *, details: bool) -> Answer:
    """Answer with what the agent says of itself; the details are for those who may see the metrics."""
    try:
        is_well, told = health()
    except Exception as error:  # noqa: BLE001  # that it cannot be told is the answer
        is_well, told = False, {"problem": f"{type(error).__name__}: {error}"}
    document = {"ok": bool(is_well), **(told if details else {})}
    text = json.dumps(document, default=str, indent=1)
    return words(200 if is_well else 503, f"{text}\n", content_type="application/json")
