"""The whole configuration, rendered."""

from stackctl.collector.settings import CollectorSettings

__all__ = ["CollectorSettings", "files"]


def files(settings: CollectorSettings) -> dict[str, str]:
    """Return the files that lie beside each other in the Collector's directory: name to text."""
    return {"config.yaml": f"# {settings.tempo}\n", "prices.csv": ""}
