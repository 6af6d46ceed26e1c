"""Certificates for tests of TLS, made by openssl: an authority, and what it signed."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files (PEM)."""

    file: Path
    key: Path


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def authority(folder: Path, name: str = "authority") -> Certificate:
    """Make a certificate that signs others."""
    made = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    new = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-noenc",
        "-days",
        "2",
    ]
    _openssl(*new, "-subj", f"/CN={name}", "-keyout", made.key, "-out", made.file)
    return made


def signed(
    folder: Path, by: Certificate, name: str = "localhost", *, names: str = "DNS:localhost,IP:127.0.0.1"
) -> Certificate:
    """Make a certificate for localhost and 127.0.0.1, or for a client, that the authority signs."""
    made, request = Certificate(folder / f"{name}.crt", folder / f"{name}.key"), folder / f"{name}.csr"
    new = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
    _openssl(*new, "-subj", f"/CN={name}", "-keyout", made.key, "-out", request)
    extensions = folder / f"{name}.names"
    extensions.write_text(f"subjectAltName={names}\n")
    sign: list[str | Path] = [
        "x509",
        "-req",
        "-days",
        "2",
        "-CAcreateserial",
        "-CA",
        by.file,
        "-CAkey",
        by.key,
    ]
    _openssl(*sign, "-in", request, "-out", made.file, "-extfile", extensions)
    return made


def trusting(by: Certificate, *, client: Certificate | None = None) -> ssl.SSLContext:
    """Give a client's context that trusts the authority alone."""
    context = ssl.create_default_context(cafile=str(by.file))
    if client is not None:
        context.load_cert_chain(client.file, client.key)
    return context
