"""The metric catalogue as connectors: rows of `genai.metrics` over redacted spans and evaluation records.

Names are those of Prometheus already, units are left empty, so that the exporter adds nothing to them. The labels'
values are bounded on the copy of the spans that is counted; what is stored keeps its own.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from stackctl import semconv
from stackctl.collector import ottl
from stackctl.collector.group import Group, quoted
from stackctl.collector.ottl import Line, matches, put, span, text
from stackctl.collector.pricing import UNLISTED
from stackctl.genai import content
from stackctl.genai.content import Form
from stackctl.genai.metrics import CATALOGUE, RETRIEVAL, Bound, Label, MetricRow
from stackctl.genai.rows import Duration, Field, One, ResourceAttr, Source, SpanAttr

# Its samples carry traces, which signal_to_metrics cannot give: it takes the way of `traces/first_token`.
BY_SPAN_METRICS: Final = semconv.LLM_TIME_TO_FIRST_TOKEN
# Resource attributes that `job` and `instance` are made of, and those that are labels.
IDENTITY: Final = (semconv.SERVICE_NAME, semconv.SERVICE_NAMESPACE, semconv.SERVICE_INSTANCE_ID)
RESOURCE_LABELS: Final = (semconv.SERVICE_NAME, semconv.DEPLOYMENT_ENVIRONMENT)
SECONDS: Final = "Double(span.end_time_unix_nano - span.start_time_unix_nano) / 1000000000.0"

_EVALUATION_KEYS: Final = {
    "name": semconv.EVALUATION_NAME,
    "label": semconv.EVALUATION_LABEL,
    "error_type": semconv.ERROR_TYPE,
    "score": semconv.EVALUATION_SCORE,
}


def counted() -> str:
    """Return the condition of the spans that any row takes part in."""
    return f"{span(semconv.ACCOUNTED)} == true or {ottl.holds(RETRIEVAL)}"


def first_token_row() -> MetricRow:
    """Return the row whose samples carry traces."""
    return next(row for row in CATALOGUE if row.name == BY_SPAN_METRICS)


# --- labels -----------------------------------------------------------------------------------------------------------
def span_labels() -> list[Group]:
    """Return what bounds the labels of the copy that is counted."""
    labels = dict.fromkeys(label for row in CATALOGUE if row.of == "span" for label in row.labels)
    lines = []
    for label in labels:
        if not isinstance(label.source, SpanAttr):
            continue
        if key_of(label) != label.source.key:
            lines.append(Line(put(span(key_of(label)), span(label.source.key), f"{span(label.source.key)} != nil")))
        lines += _bounded(span(label.source.key), label)
    return [
        _resource_labels(),
        Group("Labels within their bounds (Bound in genai/metrics.py).", lines),
    ]


def evaluation_labels() -> list[Group]:
    """Return what makes evaluation records countable: labels bounded, the score a number, everything else gone."""
    kept = ", ".join(text(key) for key in _EVALUATION_KEYS.values())
    score = _record(semconv.EVALUATION_SCORE)
    lines = [
        Line('set(log.body, "")', "Nothing but what a series is made of stays of a record."),
        Line(f"keep_keys(log.attributes, [{kept}])"),
        _dropped(semconv.EVALUATION_SCORE, f"not (IsInt({score}) or IsDouble({score}))"),
    ]
    for field in ("name", "label", "error_type"):
        key = _EVALUATION_KEYS[field]
        value = _record(key)
        lines += [_dropped(key, f'not IsString({value}) or {value} == ""'), _form(value, key), _word(value)]
    return [_resource_labels(), Group("Evaluations.", lines, "log")]


def sender() -> Group:
    """Return what makes labels of the resource's attributes that are some."""
    lines = []
    for key in RESOURCE_LABELS:
        resource = f"resource.attributes[{text(key)}]"
        lines.append(Line(put(f"datapoint.attributes[{text(key)}]", resource, f"{resource} != nil")))
    return Group("Who sent it stands on every series.", lines, "datapoint")


def _dropped(key: str, where: str) -> Line:
    return Line(f"delete_key(log.attributes, {text(key)}) where {where}")


def _resource_labels() -> Group:
    keys = (*IDENTITY, semconv.DEPLOYMENT_ENVIRONMENT)
    return Group(
        "Whoever sent it, as labels.", [_word(f"resource.attributes[{text(key)}]") for key in keys], "resource"
    )


def _form(path: str, key: str) -> Line:
    form = content.FORMS.get(key, Form.WORD)
    return Line(put(path, text(content.OTHER), f"{path} != nil", f"not ({matches(path, form.value)})"))


def _record(key: str) -> str:
    return f"log.attributes[{text(key)}]"


def _bounded(path: str, label: Label) -> Iterator[Line]:
    if label.bound is Bound.MODEL and isinstance(label.source, SpanAttr):
        yield Line(put(path, text(semconv.OTHER_MODEL), f"{span(UNLISTED[label.source.key])} == true"))
    if label.bound is not Bound.CLOSED:
        yield _word(path)


def _word(path: str) -> Line:
    """`content.label_word`: what is masked or long is `other`; what is no text stands as it is."""
    fits = f"{matches(path, Form.NAME.value)} and Len({path}) <= {content.FORM_CAPS[Form.NAME]}"
    short = f"({matches(path, f'^.{{0,{content.UNSPACED_CAP}}}$')} and {matches(path, content.UNSPACED)})"
    return Line(put(path, text(content.OTHER), f"IsString({path})", f"not (({fits}) or {short})"))


def key_of(label: Label) -> str:
    """Return the attribute that becomes the label: its source, where the exporter spells that so, else the label."""
    source = label.source
    key = source.key if isinstance(source, SpanAttr | ResourceAttr) else _EVALUATION_KEYS[_field(source)]
    return key if key.replace(".", "_") == label.name else label.name


def _field(source: Source) -> str:
    if not isinstance(source, Field):
        raise ValueError(f"{source} is no label's source")
    return source.name


# --- connectors -------------------------------------------------------------------------------------------------------
def connector(of: str, indent: int) -> str:
    """Return the configuration of `signal_to_metrics` for the rows over `span` or `evaluation` records."""
    rows = [row for row in CATALOGUE if row.of == of and row.name != BY_SPAN_METRICS]
    signal = "spans" if of == "span" else "logs"
    lines = [f"{signal}:", *(f"  {line}" for row in rows for line in _metric(row))]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def _metric(row: MetricRow) -> Iterator[str]:
    yield f"# {row.name}"
    yield f"- name: {row.name}"
    yield f"  description: {quoted(row.help)}"
    conditions = ottl.every(*_conditions(row))
    if conditions:
        yield "  conditions:"
        yield f"    - {quoted(conditions)}"
    yield "  include_resource_attributes:"
    yield from (f"    - {{key: {key}, optional: true}}" for key in (*IDENTITY, semconv.DEPLOYMENT_ENVIRONMENT))
    attributes = [f"{{key: {key_of(label)}, optional: true}}" for label in row.labels if not _of_resource(label)]
    attributes += [f"{{key: {_constant_key(name)}, default_value: {value}}}" for name, value in row.constants]
    if attributes:
        yield "  attributes:"
        yield from (f"    - {attribute}" for attribute in attributes)
    value = quoted(_value(row))
    if row.kind == "counter":
        yield f"  sum: {{monotonic: true, value: {value}}}"
    else:
        yield f"  histogram: {{buckets: {buckets(row)}, count: '1', value: {value}}}"


def buckets(row: MetricRow) -> str:
    """Return the bounds of a histogram's buckets as a YAML list."""
    return f"[{', '.join(repr(bound).removesuffix('.0') for bound in row.bounds)}]"


def _constant_key(name: str) -> str:
    """Constants stand under the label's own name, which no convention's attribute has: nobody sends one."""
    return name


def _of_resource(label: Label) -> bool:
    return isinstance(label.source, ResourceAttr)


def _conditions(row: MetricRow) -> Iterator[str]:
    """Which records have a value: a finite one, of a counter none below zero."""
    yield _grouped(ottl.holds(row.when))
    match row.value:
        case Duration():
            yield "span.end_time_unix_nano >= span.start_time_unix_nano"
        case SpanAttr() | Field():
            path = _path(row.value)
            lowest = "0" if row.kind == "counter" else "-1.7976931348623157e+308"
            yield f"{path} != nil and {path} >= {lowest} and {path} <= 1.7976931348623157e+308"


def _grouped(condition: str) -> str:
    return f"({condition})" if " or " in condition else condition


def _value(row: MetricRow) -> str:
    match row.value:
        case One():
            return "1"
        case Duration():
            return SECONDS
        case _:
            return f"Double({_path(row.value)})"


def _path(source: Source) -> str:
    return _record(_EVALUATION_KEYS[source.name]) if isinstance(source, Field) else ottl.path(source)


# --- samples with traces ----------------------------------------------------------------------------------------------
def first_token() -> Group:
    """Return what makes a span last as long as its first token took, since span_metrics observes durations."""
    seconds = span(semconv.TIME_TO_FIRST_CHUNK)
    end = f"span.start_time_unix_nano + Int({seconds} * 1000000000.0 + 0.5)"
    return Group(
        "A span that ends with its first token: span_metrics observes durations.",
        [Line(put("span.end_time_unix_nano", end))],
    )


def first_token_dimensions() -> Iterable[str]:
    """Return the attributes that are labels of the first token's histogram."""
    return [key_of(label) for label in first_token_row().labels]


def renamed(namespace: str) -> list[Line]:
    """Return what gives span_metrics' histogram the catalogue's name.

    Args:
        namespace: what span_metrics was told to put before its names.
    """
    row = first_token_row()
    return [
        Line(put("metric.description", text(row.help), f'metric.name == "{namespace}.duration"')),
        Line(put("metric.unit", '""', f'metric.name == "{namespace}.duration"')),
        Line(put("metric.name", text(row.name), f'metric.name == "{namespace}.duration"')),
    ]
