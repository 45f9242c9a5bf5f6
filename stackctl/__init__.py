"""stackctl: OpenTelemetry and Grafana for LLM applications, self-hosted, from one command."""

__version__ = "0.1.0"
