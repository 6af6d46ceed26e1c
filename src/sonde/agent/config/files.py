"""Files that the configuration names and nobody finds: told as likely mistakes, for they may be there when it counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sonde.agent.config.otlp import SIGNALS

if TYPE_CHECKING:
    from sonde.agent.config.config import Config

OF_OTLP = ("certificate", "client_certificate", "client_key")
OF_PROMETHEUS = ("tls_certificate", "tls_key", "tls_client_ca", "token_file")


def missing_files(config: Config) -> Iterator[str]:
    """Say which are not there; what this user may not look for is not judged."""
    named = dict[str, str | None]()
    for signal in SIGNALS:
        own = getattr(config.otlp, signal)
        if config.otlp.delivery(signal) is not None:
            for name in OF_OTLP:
                if getattr(own, name) is not None:
                    named[f"otlp.{signal}.{name}"] = getattr(own, name)
                else:
                    named[f"otlp.{name}"] = getattr(config.otlp, name)
    if config.prometheus.is_enabled:
        named |= {f"prometheus.{name}": getattr(config.prometheus, name) for name in OF_PROMETHEUS}
    for key, path in named.items():
        if path is not None and _is_missing(path):
            yield f"{key}: there is no file {path if path.isprintable() else repr(path)}"
    folder = os.path.dirname(config.file.path)
    if config.file.is_enabled and folder and _is_missing(folder):
        yield f"file.path: there is no directory {folder if folder.isprintable() else repr(folder)}"


def _is_missing(path: str) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
