"""The variables of every board, and how queries are narrowed by them.

Definitions hold whole queries without selectors for service, environment, provider and model. One pass adds them, to
each metric those that the catalogue says it has, so that no panel can forget one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stackctl import semconv
from stackctl.genai import metrics

ALL: Final = ".*"  # what Grafana puts in for "All"; it also matches series without the label

_QUOTED = re.compile(r'("(?:\\.|[^"\\])*")')
# A filter's braces; those of a macro, `${name}`, are none.
_FILTER = re.compile(r'(?<!\$)\{((?:"(?:\\.|[^"\\])*"|\$\{\w+\}|[^{}"])*)\}')
_SUFFIXES: Final = ("_bucket", "_sum", "_count")


@dataclass(frozen=True)
class Variable:
    """One choice at the top of a board.

    Attributes:
        name: as queries spell it, `$name`.
        label: the metric label it narrows.
        attribute: the scoped attribute it narrows in TraceQL.
        inference: whether only spans of inference calls have the attribute.
    """

    name: str
    title: str
    label: str
    attribute: str
    inference: bool = False

    @property
    def values(self) -> str:
        """The query for what there is to choose from, in the form of Grafana's Prometheus data source."""
        return f"label_values({semconv.LLM_REQUESTS}, {self.label})"

    @property
    def condition(self) -> str:
        """The TraceQL condition. There an absent attribute matches no expression, so "All" is asked for by itself."""
        return f'("${self.name}" = "{ALL}" || {self.attribute} =~ "${self.name}")'


VARIABLES: Final = (
    Variable("service", "Service", semconv.LABEL_SERVICE, f"resource.{semconv.SERVICE_NAME}"),
    Variable("environment", "Environment", semconv.LABEL_ENVIRONMENT, f"resource.{semconv.DEPLOYMENT_ENVIRONMENT}"),
    Variable("provider", "Provider", semconv.LABEL_PROVIDER, f"span.{semconv.PROVIDER}", True),
    Variable("model", "Model", semconv.LABEL_REQUEST_MODEL, f"span.{semconv.REQUEST_MODEL}", True),
)


def _catalogue() -> dict[str, frozenset[str]]:
    """Return the labels of every series name of the catalogue, a histogram's three names among them."""
    found: dict[str, frozenset[str]] = {}
    for name, rows in metrics.BY_NAME.items():
        labels = frozenset(label.name for row in rows for label in row.labels)
        constants = frozenset(key for row in rows for key, _ in row.constants)
        suffixes = _SUFFIXES if rows[0].kind == "histogram" else ("",)
        found |= {f"{name}{suffix}": labels | constants for suffix in suffixes}
    return found


# Every series name that the stack derives from spans, with the labels it may carry.
SERIES: Final = _catalogue()
_METRIC = re.compile(rf"(?<![\w:])({'|'.join(sorted(SERIES, key=len, reverse=True))})(?![\w:])(\{{)?")


def promql(query: str, variables: Sequence[Variable] = VARIABLES) -> str:
    """Return a PromQL query whose catalogue metrics are narrowed by the variables they have a label for."""
    return "".join(
        part if part.startswith('"') else _METRIC.sub(lambda found: _narrowed(found, variables), part)
        for part in _QUOTED.split(query)
    )


def _narrowed(found: re.Match[str], variables: Sequence[Variable]) -> str:
    name, brace = found.groups()
    matchers = ", ".join(f'{one.label}=~"${one.name}"' for one in variables if one.label in SERIES[name])
    if not matchers:
        return found[0]
    if brace:
        return f"{name}{{{matchers}, "
    return f"{name}{{{matchers}}}"


def traceql(query: str, variables: Sequence[Variable] = VARIABLES) -> str:
    """Return a TraceQL query with narrowed filters; by provider and model only where it asks for inference calls."""
    inference = semconv.ACCOUNTED in query
    conditions = " && ".join(one.condition for one in variables if inference or not one.inference)
    return _FILTER.sub(lambda found: _conjunction(conditions, found[1].strip()), query)


def _conjunction(conditions: str, own: str) -> str:
    # `&&` and `||` bind equally in TraceQL and group from the left, so the author's condition needs its brackets.
    both = [part for part in (conditions, f"({own})" if own and conditions else own) if part]
    return f"{{ {' && '.join(both)} }}"
