"""Pages: what a scrape gets, made from a fresh snapshot by one thread, one at a time."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sonde.errors import SondeError
from sonde.exporters.prometheus.accept import Format
from sonde.exporters.prometheus.families import families_of
from sonde.exporters.prometheus.protobuf import write_protobuf
from sonde.exporters.prometheus.text import write_text
from sonde.exporters.text import visible

if TYPE_CHECKING:
    from sonde.records.metrics import Snapshot

KEPT_S = 2.0
"""A page is kept for so long, for a client that asks again while the agent still gives the same snapshot."""

PIECE_BYTES = 64 * 1024
GZIP = zlib.MAX_WBITS | 16
WRITERS = {Format.TEXT: write_text, Format.PROTOBUF: write_protobuf}


class NoPageError(SondeError):
    """There is no page now; ``cause`` is a word for it in ``Status.failures``."""

    def __init__(self, cause: str, why: str) -> None:
        super().__init__("no measurement", why=why)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Page:
    """A page, compressed: its text is up to twenty times as large, and is never there as a whole."""

    compressed: bytes
    size_bytes: int
    points: int
    is_final: bool

    def plain(self) -> Iterator[bytes]:
        """Give the page itself, in pieces."""
        unpacker = zlib.decompressobj(GZIP)
        rest = self.compressed
        while rest and not unpacker.eof:
            yield unpacker.decompress(rest, PIECE_BYTES)
            rest = unpacker.unconsumed_tail
        if last := unpacker.flush():
            yield last


def make_page(snapshot: Snapshot, wanted: Format, *, classic_buckets: int, is_final: bool = False) -> Page:
    """Write a snapshot, compressing as it goes."""
    packer = zlib.compressobj(zlib.Z_BEST_SPEED, zlib.DEFLATED, GZIP)
    found, size_bytes, points = [], 0, 0
    for family in families_of(snapshot):
        for piece, series in WRITERS[wanted](family, classic_buckets=classic_buckets):
            found.append(packer.compress(piece))
            size_bytes += len(piece)
            points += series
    found.append(packer.flush())
    return Page(b"".join(found), size_bytes, points, is_final)


@dataclass(slots=True)
class Wish:
    """A page that is wanted, by all who asked for it before its snapshot was taken."""

    is_done: threading.Event = field(default_factory=threading.Event)
    page: Page | None = None
    error: NoPageError | None = None


class Pages:
    """Makes pages in a thread of its own, so that whoever waits for one can stop waiting.

    ``source`` gives a snapshot; it is never called twice at a time. Scrapes that come while a page is being made share
    the next one: a scrape never gets what was measured before it asked, unless ``source`` itself gives it. Closed
    by ``close``.
    """

    def __init__(self, source: Callable[[], Snapshot | None], *, classic_buckets: int) -> None:
        self._source = source
        self._classic_buckets = classic_buckets
        self._changed = threading.Condition()
        self._wishes: dict[Format, Wish] = {}
        self._under_way: list[Wish] = []
        self._is_closed = False
        self._final: Snapshot | None = None
        # These two belong to the thread.
        self._snapshot: Snapshot | None = None
        self._made: dict[Format, Page] = {}
        self._thread = threading.Thread(target=self._work, name="sonde-prometheus-pages", daemon=True)

    def start(self) -> None:
        """Begin to make pages."""
        self._thread.start()

    def page(self, wanted: Format, *, timeout_s: float) -> Page:
        """Give a page of a fresh snapshot; raises NoPageError after so long, or when there is none."""
        with self._changed:
            if self._is_closed:
                raise NoPageError("closed", "sonde is stopping")
            wish = self._wishes.setdefault(wanted, Wish())
            self._changed.notify()
        if not wish.is_done.wait(timeout_s):
            raise NoPageError("deadline", f"reading the counts took more than {timeout_s:.3g} s")
        if wish.page is None:
            assert wish.error is not None
            raise wish.error
        return wish.page

    def freeze(self, snapshot: Snapshot) -> None:
        """From now on serve this, and ask the source no more."""
        with self._changed:
            self._final = snapshot

    def close(self, *, timeout_s: float) -> None:
        """End; whoever waits is told. A source that does not come back is left behind with its thread."""
        with self._changed:
            self._is_closed = True
            for wish in (*self._wishes.values(), *self._under_way):
                wish.error = NoPageError("closed", "sonde is stopping")
                wish.is_done.set()
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, timeout_s))

    def _work(self) -> None:
        while not self._is_closed:
            self._fulfil(self._next_wishes())

    def _fulfil(self, wishes: dict[Format, Wish]) -> None:
        for wanted, wish in wishes.items():
            try:
                wish.page = self._page(wanted)
            except NoPageError as error:
                wish.error = error
            except Exception as error:  # noqa: BLE001  # whatever the agent's reading raises, the next may succeed
                told = visible(f"{type(error).__name__}: {error}")
                wish.error = NoPageError("snapshot", f"reading the counts failed ({told})")
            wish.is_done.set()
        # No page is held longer than somebody wants it.
        with self._changed:
            self._under_way = []

    def _next_wishes(self) -> dict[Format, Wish]:
        """Wait until a page is wanted; nothing when it is time to end."""
        with self._changed:
            while not self._wishes and not self._is_closed:
                if not self._changed.wait(KEPT_S if self._made else None):
                    self._snapshot, self._made = None, {}
            wishes, self._wishes = self._wishes, {}
            self._under_way = list(wishes.values())
            return {} if self._is_closed else wishes

    def _page(self, wanted: Format) -> Page:
        with self._changed:
            final = self._final
        snapshot = self._source() if final is None else final
        if snapshot is None:
            raise NoPageError("not ready", "nothing was read just now: /healthz and /readyz say more")
        if snapshot is not self._snapshot:
            self._snapshot, self._made = snapshot, {}
        page = self._made.get(wanted)
        if page is None or page.is_final != (final is not None):
            page = make_page(
                snapshot, wanted, classic_buckets=self._classic_buckets, is_final=final is not None
            )
            self._made[wanted] = page
        return page
