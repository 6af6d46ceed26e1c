"""Prometheus: an endpoint that answers scrapes, in classic text or in protobuf with native histograms.

``settings`` and ``exporter`` are the doors; the agent imports the second only when the endpoint is wanted.
"""
