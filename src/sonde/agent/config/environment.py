"""The environment: ``SONDE_…`` for every key, and what OpenTelemetry defines for all programs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sonde.agent.config.key import Key, Path
from sonde.agent.config.setting import Layer, Origin
from sonde.nearest import nearest

PREFIX = "SONDE_"
PLACE = "environment"
NOT_OURS = re.compile(
    # What Kubernetes tells each pod of a service that is named sonde, or sonde-something.
    r"SONDE(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)?)"
    # What the build and its tests are told.
    r"|SONDE_(LIBBPF|CLANG|GLIBC|SYSROOT|VM_[A-Z_]+)"
)


def variable(path: Path) -> str:
    """Give the variable of a key: ``otlp.endpoint`` is ``SONDE_OTLP_ENDPOINT``."""
    return PREFIX + "_".join(path).upper().replace("-", "_")


def read_environment(environment: Mapping[str, str], keys: Mapping[Path, Key]) -> Layer:
    """Read sonde's own variables; an empty one is as one that is not set, which is OpenTelemetry's rule."""
    layer = Layer()
    by_name = {variable(path): path for path in keys}
    for name, text in sorted(environment.items()):
        if not name.startswith(PREFIX) or not text:
            continue
        origin = Origin(PLACE, name if name.isprintable() else repr(name))
        path = by_name.get(name)
        if path is not None:
            read(layer, path, keys[path], text, origin)
        elif not NOT_OURS.fullmatch(name):
            near = nearest(name, by_name)
            hint = f"did you mean {' or '.join(near)}?" if near else "sonde config example lists all keys"
            layer.refuse(origin, f"there is no such variable: {hint}")
    return layer


def read(layer: Layer, path: Path, key: Key, text: str, origin: Origin) -> None:
    """Read a text for a key into a layer."""
    try:
        # Bytes that are no UTF-8 arrive as lone surrogates, and end in an exporter as an error of encoding.
        text.encode()
        layer.add(path, key.read(text, is_text=True), origin)
    except UnicodeEncodeError:
        layer.refuse(origin, "it is no UTF-8")
    except ValueError as error:
        layer.refuse(origin, str(error))
