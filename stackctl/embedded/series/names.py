"""Names as Prometheus' OTLP receiver makes them (strategy UnderscoreEscapingWithSuffixes, its default).

Rules: https://github.com/prometheus/otlptranslator (metric_namer.go, label_namer.go, unit_namer.go) and, for `job` and
`instance`, https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/.
"""

from typing import Final

JOB: Final = "job"
INSTANCE: Final = "instance"


def job(namespace: str, service: str) -> str:
    """Return the `job` label: `namespace/service`, or the service alone; empty without a service."""
    return f"{namespace}/{service}" if namespace and service else service
