"""The files of TLS: read again when they change, for certificates are renewed while an agent runs."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sonde.exporters.otlp.settings import OtlpDelivery


class Credentials:
    """Whom to trust, and who we are, from a delivery's PEM files."""

    def __init__(self, delivery: OtlpDelivery) -> None:
        self._authorities = delivery.certificate
        self._certificate, self._key = delivery.client_certificate, delivery.client_key
        self._versions: tuple[tuple[int, int] | None, ...] | None = None

    def have_changed(self) -> bool:
        """Tell whether the files are others than at the last call, which the first call says too."""
        before, self._versions = (
            self._versions,
            tuple(_version(path) for path in (self._authorities, self._certificate, self._key) if path),
        )
        return self._versions != before

    def context(self) -> ssl.SSLContext:
        """Make a context for clients; raises ssl.SSLError for files that are not usable."""
        files = self._authorities or "the system's authorities"
        try:
            context = ssl.create_default_context(cafile=self._authorities)
            if self._certificate:
                # Which of the two files it was, OpenSSL does not say.
                files = f"{self._certificate} or {self._key}"
                context.load_cert_chain(self._certificate, self._key)
        except OSError as error:
            why = (error.reason or str(error)) if isinstance(error, ssl.SSLError) else error.strerror
            raise ssl.SSLError(error.errno or 0, f"{files} cannot be used: {why}") from error
        return context

    def pem(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Give the contents as gRPC takes them: authorities, key, certificate; raises OSError as ``context`` does.

        The authorities are the system's where none are given, and gRPC's own where the system has none.
        """
        # Of what is not usable gRPC says neither which file it is nor why.
        self.context()
        authorities = self._authorities or ssl.get_default_verify_paths().cafile
        return _content(authorities), _content(self._key), _content(self._certificate)


def _content(path: str | None) -> bytes | None:
    if not path:
        return None
    with open(path, "rb") as file:
        return file.read()


def _version(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
