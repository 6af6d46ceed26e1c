"""Who tells: the resource, and the scope ``sonde`` with its version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from sonde.exporters.otlp.attributes import key_values
from sonde.exporters.otlp.wire import framed, tag
from sonde.version import VERSION

if TYPE_CHECKING:
    from google.protobuf.message import Message

SCOPE = "sonde"


def resource_field(parent: type[Message], attributes: Mapping[str, Any]) -> bytes:
    """Encode the field ``resource`` of ResourceMetrics or ResourceLogs."""
    content: bytes = Resource(attributes=key_values(attributes)).SerializeToString()
    return framed(tag(parent, "resource"), content)


def scope_field(parent: type[Message]) -> bytes:
    """Encode the field ``scope`` of ScopeMetrics or ScopeLogs."""
    content: bytes = InstrumentationScope(name=SCOPE, version=VERSION).SerializeToString()
    return framed(tag(parent, "scope"), content)
