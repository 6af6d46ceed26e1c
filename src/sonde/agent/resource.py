"""What all that is exported is of: this machine, and this process on it."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any

from sonde.version import VERSION

if TYPE_CHECKING:
    from sonde.agent.config import Config

INSTANCE = str(uuid.uuid4())
"""This process among all of its kind (service.instance.id): its counters begin with it."""


def resource_of(config: Config) -> dict[str, Any]:
    """Give the attributes of the resource, by the semantic conventions; what the configuration says goes first."""
    system = os.uname()
    return {
        "service.name": "sonde",
        "service.version": VERSION,
        "service.instance.id": INSTANCE,
        "host.name": system.nodename,
        "host.arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(system.machine, system.machine),
        "os.type": "linux",
        "os.version": system.release,
        **config.resource,
    }
