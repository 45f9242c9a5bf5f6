"""PromQL over numpy: parse, evaluate at one moment or over a range of steps, refuse by name what is not there.

Prometheus 3 semantics for float samples and classic histograms; pure, reads only through a `Storage`.
"""

from stackctl.promql.evaluate import instant, range_
from stackctl.promql.parse import metric_names
from stackctl.promql.values import ExecutionFailed, Labels, Matcher, Result, Series, Storage

__all__ = ["ExecutionFailed", "Labels", "Matcher", "Result", "Series", "Storage", "instant", "metric_names", "range_"]
