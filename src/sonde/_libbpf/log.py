"""libbpf's messages: to the logger ``sonde.libbpf``, never to stderr."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sonde._libbpf import ffi, lib

_INFO, _DEBUG = 1, 2  # enum libbpf_print_level, where 0 is a warning
_captures = threading.local()


@ffi.def_extern()  # type: ignore[untyped-decorator]
def sonde_on_log(level: int, text: object) -> None:
    """Take one message from libbpf, on the thread that called into it."""
    message = ffi.string(text).decode(errors="replace").rstrip("\n")
    capture: list[str] | None = getattr(_captures, "messages", None)
    if capture is not None:
        capture.append(message)
    # Imported here: logging costs 10 ms that a run without messages need not pay.
    import logging

    library = logging.getLogger("sonde")
    if not library.handlers:
        # Without any handler Python itself would write warnings to stderr.
        library.addHandler(logging.NullHandler())
    logger = logging.getLogger("sonde.libbpf")
    # While a caller captures, the messages become part of an error or of a feature test that may well fail.
    expected = capture is not None or level >= _DEBUG
    logger.log(logging.DEBUG if expected else (logging.INFO if level == _INFO else logging.WARNING), message)


def start(*, debug: bool = False) -> None:
    """Forward libbpf's messages from now on; with ``debug`` the many it writes while it works, too."""
    lib.sonde_log_start(_DEBUG if debug else _INFO)


@contextmanager
def capture() -> Iterator[list[str]]:
    """Collect the messages that libbpf writes on this thread inside the block, oldest first."""
    outer = getattr(_captures, "messages", None)
    messages: list[str] = []
    _captures.messages = messages
    try:
        yield messages
    finally:
        _captures.messages = outer


start()
