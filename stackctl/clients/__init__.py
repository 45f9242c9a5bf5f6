"""Clients of the two query APIs, the same for the embedded engine and for the real Prometheus and Tempo."""

from stackctl.clients.prometheus import Exemplar, Line, PrometheusClient, Sample
from stackctl.clients.tempo import TempoClient
from stackctl.clients.traces import Event, Span, SpanMatch, Trace, TraceSummary

__all__ = [
    "Event",
    "Exemplar",
    "Line",
    "PrometheusClient",
    "Sample",
    "Span",
    "SpanMatch",
    "TempoClient",
    "Trace",
    "TraceSummary",
]
