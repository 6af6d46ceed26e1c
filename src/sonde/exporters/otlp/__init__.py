"""OpenTelemetry's protocol: metrics and records to any receiver, over gRPC or HTTP (extra ``otlp``)."""

from sonde.exporters.otlp.exporter import OtlpExporter
from sonde.exporters.otlp.settings import OtlpSettings

__all__ = ["OtlpExporter", "OtlpSettings"]
