"""Names as Prometheus' OTLP receiver makes them (strategy UnderscoreEscapingWithSuffixes, its default).

Rules and unit tables: https://github.com/prometheus/otlptranslator (metric_namer.go, label_namer.go, unit_namer.go).
`job` and `instance`: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/. Held against
the real receiver by a test.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from stackctl.remembering import remembers

JOB: Final = "job"
INSTANCE: Final = "instance"
TARGET_INFO: Final = "target_info"

_UNITS: Final[Mapping[str, str]] = {
    **{"d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds"},
    **{"ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes"},
    **{"TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes"},
    **{"m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams", "Cel": "celsius"},
    **{"Hz": "hertz", "1": "", "%": "percent"},
}
_PER_UNITS: Final[Mapping[str, str]] = {
    **{"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"},
}
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9:]+")
_NOT_IN_LABEL: Final = re.compile(r"[^A-Za-z0-9_]")
_UNDERSCORES: Final = re.compile(r"__+")


@remembers(4096)
def metric_name(name: str, unit: str, counter: bool = False, gauge: bool = False) -> str:
    """Return the name of a metric; empty where nothing of it can stand in a name.

    Args:
        unit: UCUM, as OTLP sends it.
        counter: a monotonic sum.
    """
    tokens = [token for token in _NOT_IN_NAME.split(name) if token]
    _add_units(tokens, unit)
    if counter:
        tokens = [*(token for token in tokens if token != "total"), "total"]
    if gauge and unit == "1":
        tokens = [*(token for token in tokens if token != "ratio"), "ratio"]
    whole = "_".join(tokens)
    return f"_{whole}" if whole[:1].isdigit() else whole


def _add_units(tokens: list[str], unit: str) -> None:
    main, _, per = (part.strip() for part in unit.partition("/"))
    main_suffix = "" if "{" in main or "}" in main else _cleaned(_UNITS.get(main, main))
    per_suffix = "" if "{" in per or "}" in per else _cleaned(_PER_UNITS.get(per, per))
    if main_suffix in tokens:
        main_suffix = ""
    if per_suffix:  # appended even where the name says it already: so does the receiver
        main_suffix = main_suffix.removesuffix("_")
    tokens += [main_suffix] if main_suffix else []
    tokens += ["per", per_suffix] if per_suffix else []


def _cleaned(unit: str) -> str:
    return _UNDERSCORES.sub("_", re.sub(r"[^A-Za-z0-9:]", "_", unit)).removeprefix("_")


@remembers(16_384)
def label_name(key: str) -> str:
    """Return the label for an attribute key."""
    name = _NOT_IN_LABEL.sub("_", key)
    if name[:1].isdigit():
        return f"key_{name}"
    if name.startswith("_") and not name.startswith("__"):
        return f"key{name}"
    return name


def labels_of(attributes: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return attributes as labels; values of keys that become one label are joined by `;` in the order of the keys."""
    labels: dict[str, str] = {}
    for key, value in sorted(attributes):
        name = label_name(key)
        labels[name] = f"{labels[name]};{value}" if name in labels else value
    return labels


def job(namespace: str, service: str) -> str:
    """Return the `job` label: `namespace/service`, or the service alone; empty without a service."""
    return f"{namespace}/{service}" if namespace and service else service
