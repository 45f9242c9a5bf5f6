"""Applications' own metrics as statements: redacted, their names vetted, their times those of arrival."""

import re
from typing import Final

from stackctl.collector import redaction
from stackctl.collector.group import Group
from stackctl.collector.ottl import Line, matches
from stackctl.genai import content
from stackctl.genai.metrics import BY_NAME

# What the exporter behind may add to a name: a type's or a unit's suffix.
_SUFFIXES: Final = ("total", "seconds", "ratio")
_DELTA: Final = "metric.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA"


def refused() -> list[str]:
    """Return the conditions of metrics that are dropped: no name, one that holds text, or one of the catalogue."""
    return [
        f"not {matches('metric.name', content.METRIC_NAME)} or Len(metric.name) > {content.METRIC_NAME_CAP}",
        matches("metric.name", _catalogue()),
    ]


def _catalogue() -> str:
    """Names that could become a catalogue's: nobody but this pipeline writes those."""
    stems = dict.fromkeys(_stem(name) for name in BY_NAME)
    ends = "".join(f"([^A-Za-z0-9:]+{suffix})?" for suffix in _SUFFIXES)
    return f"^[^A-Za-z0-9:]*({'|'.join(stems)}){ends}[^A-Za-z0-9:]*$"


def _stem(name: str) -> str:
    words = name.split("_")
    while words[-1] in _SUFFIXES:
        words.pop()
    return "[^A-Za-z0-9:]+".join(map(re.escape, words))


def groups(allow: tuple[str, ...]) -> list[Group]:
    """Return what redacts metrics.

    Args:
        allow: the user's patterns for an application's own keys.
    """
    metric = [
        Line('set(metric.description, "")'),
        Line(f'set(metric.unit, "") where not {matches("metric.unit", content.METRIC_UNIT)}'),
        Line('delete_matching_keys(metric.metadata, ".*")'),
    ]
    point = redaction.attributes("datapoint.attributes", "datapoint.cache", allow)
    return [
        redaction.resource(allow),
        redaction.scope(),
        Group("Descriptions are free text; a unit becomes part of a name.", metric, "metric"),
        Group("Attributes of points as those of spans.", point, "datapoint"),
        Group(
            "An exemplar keeps its value and its trace.",
            [Line('delete_matching_keys(exemplar.filtered_attributes, ".*")')],
            "exemplar",
        ),
    ]


def clock(delta_only: bool = True) -> Group:
    """Return what stamps points with the time of their arrival.

    Args:
        delta_only: leave the start of what is cumulative already: its sender knows since when it counts.
    """
    where = f" where {_DELTA}" if delta_only else ""
    lines = [
        Line("set(datapoint.time, Now())"),
        Line(f'set(datapoint.start_time, datapoint.time - Duration("1s")){where}'),
    ]
    return Group("The time of a sample is that of its arrival.", lines, "datapoint")
