"""Applications' OTLP metrics as points: sums, gauges, explicit histograms and summaries, cumulative and delta.

Attributes pass the rules of `genai.content`, exemplars lose theirs, descriptions are not read: an application's metrics
may carry content too. Where a dropped attribute makes two cumulative series one, their values are added. Exponential
histograms, and names of the catalogue, are refused and counted.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import Any, Final, TypeAlias

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags

from stackctl import semconv
from stackctl.genai import content
from stackctl.genai.content import clean, keep_key
from stackctl.genai.metrics import BY_NAME

from .family import Family, Kind, LabelSet, label_set, number
from .names import INSTANCE, JOB, TARGET_INFO, job, labels_of, metric_name
from .points import Points

# Resource attributes that stand on every series, as the docker runtime's Prometheus is told to promote them.
PROMOTED: Final = (
    semconv.SERVICE_NAME,
    semconv.SERVICE_NAMESPACE,
    semconv.SERVICE_INSTANCE_ID,
    semconv.SERVICE_VERSION,
    semconv.DEPLOYMENT_ENVIRONMENT,
)
_DELTA: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
_NO_VALUE: Final = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_LARGEST_TIME: Final = 2**63 - 1

# Generated protobuf classes have no usable types.
Message: TypeAlias = Any


@dataclass
class Decoded:
    """What one request brought.

    Attributes:
        points: to be stored.
        refused: reason to number of data points.
    """

    points: list[Points] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)

    def refuse(self, reason: str, count: int) -> None:
        """Count data points that are not stored."""
        if count:
            self.refused[reason] = self.refused.get(reason, 0) + count


def decode(body: bytes, allow: tuple[str, ...] = ()) -> Decoded:
    """Return the points of an ExportMetricsServiceRequest and what was refused.

    Args:
        allow: patterns of an application's own attribute keys that are kept (`content.allow_keys`).

    Raises:
        google.protobuf.message.DecodeError: the bytes are none.
    """
    request = ExportMetricsServiceRequest.FromString(body)
    decoded = Decoded()
    for resource_metrics in request.resource_metrics:
        resource = dict(_kept(resource_metrics.resource.attributes, allow))
        shared = labels_of((key, resource[key]) for key in PROMOTED if key in resource) | _identity(resource)
        reading = _Reading(shared, allow)
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                reading.take(metric, decoded)
        if decoded.points:
            decoded.points += _target_info(resource)
    return decoded


@dataclass
class _Reading:
    """One resource's metrics under way."""

    shared: dict[str, str]
    allow: tuple[str, ...]

    def take(self, metric: Message, into: Decoded) -> None:
        """Read one metric."""
        form = metric.WhichOneof("data")
        if form is None:
            return
        data = getattr(metric, form)
        if form == "exponential_histogram":
            into.refuse("exponential histograms are not supported, use explicit buckets", len(data.data_points))
            return
        counter = form == "sum" and data.is_monotonic
        vetted = content.metric_name(metric.name)
        unit = content.metric_unit(metric.unit)
        name = metric_name(vetted, unit, counter, form == "gauge") if vetted else ""
        if not name:
            into.refuse("the metric has no name, or one that is none", len(data.data_points))
        elif name in BY_NAME:
            into.refuse(f"{name} is derived from spans and cannot be sent", len(data.data_points))
        else:
            delta = form in ("sum", "histogram") and data.aggregation_temporality == _DELTA
            read = _READERS[form]
            found = (
                read(Target(name, "counter" if counter else "gauge", self._labels(point)), point, delta)
                for point in data.data_points
            )
            points = [point for point in found if point is not None]
            into.refuse("malformed data point", len(data.data_points) - len(points))
            into.points += points if delta else _united(points)

    def _labels(self, point: Message) -> LabelSet:
        return label_set(labels_of(_kept(point.attributes, self.allow)) | self.shared)


@dataclass(frozen=True)
class Target:
    """The series that a point belongs to; `kind` says what a number is."""

    name: str
    kind: Kind
    labels: LabelSet


def _number(target: Target, point: Message, delta: bool) -> Points | None:
    form = point.WhichOneof("value")
    ended = bool(point.flags & _NO_VALUE)
    if form is None and not ended:
        return None
    family = Family(target.name, target.kind, target.labels)
    values = () if form is None else (float(getattr(point, form)),)
    traced = tuple((0, value, trace_id) for value, trace_id in _exemplars(point))
    return Points(family, values, _started(point), delta, ended, traced)


def _histogram(target: Target, point: Message, delta: bool) -> Points | None:
    bounds = tuple(point.explicit_bounds)
    if bounds and math.isinf(bounds[-1]):
        bounds = bounds[:-1]
    counts = list(point.bucket_counts)
    if len(counts) > len(bounds) + 1:  # the sender wrote infinity as a bound: its two last buckets are one
        counts = [*counts[: len(bounds)], sum(counts[len(bounds) :])]
    if not _ascending(bounds) or (counts and len(counts) != len(bounds) + 1):
        return None
    family = Family(target.name, "histogram", target.labels, bounds)
    cumulated: list[float | None] = [float(count) for count in accumulate(counts)] if counts else [None] * len(bounds)
    buckets = [*cumulated[: len(bounds)], float(point.count)]
    total = point.sum if point.HasField("sum") else None
    traced = tuple((_bucket(bounds, value), value, trace_id) for value, trace_id in _exemplars(point))
    values = (*buckets, total, float(point.count))
    return Points(family, values, _started(point), delta, bool(point.flags & _NO_VALUE), traced)


def _summary(target: Target, point: Message, delta: bool) -> Points | None:
    quantiles = sorted((one.quantile, one.value) for one in point.quantile_values)
    if not _ascending([quantile for quantile, _ in quantiles]):
        return None
    family = Family(target.name, "summary", target.labels, tuple(quantile for quantile, _ in quantiles))
    values = (*(value for _, value in quantiles), point.sum, float(point.count))
    return Points(family, values, _started(point), delta, bool(point.flags & _NO_VALUE))


_READERS: Final[dict[str, Callable[[Target, Message, bool], Points | None]]] = {
    "gauge": _number,
    "sum": _number,
    "histogram": _histogram,
    "summary": _summary,
}


def _ascending(bounds: Sequence[float]) -> bool:
    """Whether these can be labels of different series: finite numbers, each larger than the one before."""
    return all(map(math.isfinite, bounds)) and all(low < high for low, high in pairwise(bounds))


def _started(point: Message) -> int:
    return min(int(point.start_time_unix_nano), _LARGEST_TIME)


def _exemplars(point: Message) -> Iterator[tuple[float, str]]:
    """Values and trace ids; filtered attributes are not read."""
    for exemplar in point.exemplars:
        form = exemplar.WhichOneof("value")
        if form is not None and len(exemplar.trace_id) == 16 and any(exemplar.trace_id):
            yield float(getattr(exemplar, form)), exemplar.trace_id.hex()


def _bucket(bounds: Sequence[float], value: float) -> int:
    return next((at for at, bound in enumerate(bounds) if value <= bound), len(bounds))


def _united(points: Iterable[Points]) -> list[Points]:
    """Add cumulative counts of one series that dropped attributes told apart; of gauges the last one stays."""
    united: dict[Family, Points] = {}
    for point in points:
        other = united.get(point.family)
        if other is not None and point.counts and not other.ended and not point.ended:
            pairs = zip(other.values, point.values, strict=True)
            added = tuple(None if a is None or b is None else a + b for a, b in pairs)
            point = replace(
                point,
                values=added,
                started_ns=min(other.started_ns, point.started_ns),
                exemplars=(*other.exemplars, *point.exemplars),
            )
        united[point.family] = point
    return list(united.values())


# --- attributes -----------------------------------------------------------------------------------------------------
def _kept(attributes: Iterable[Message], allow: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Attributes that may be stored, as text; lists and maps are dropped."""
    for attribute in attributes:
        if not keep_key(attribute.key, allow):
            continue
        form = attribute.value.WhichOneof("value")
        match form:
            case "string_value":
                yield attribute.key, clean(attribute.key, attribute.value.string_value)
            case "bool_value":
                yield attribute.key, "true" if attribute.value.bool_value else "false"
            case "int_value":
                yield attribute.key, str(attribute.value.int_value)
            case "double_value":
                yield attribute.key, number(attribute.value.double_value)


def _identity(resource: dict[str, str]) -> dict[str, str]:
    namespace, service = resource.get(semconv.SERVICE_NAMESPACE, ""), resource.get(semconv.SERVICE_NAME, "")
    return {JOB: job(namespace, service), INSTANCE: resource.get(semconv.SERVICE_INSTANCE_ID, "")}


def _target_info(resource: dict[str, str]) -> Iterator[Points]:
    """What else is known about the sender, to be joined on job and instance; nothing where there is neither."""
    identity = {name: value for name, value in _identity(resource).items() if value}
    identifying = {semconv.SERVICE_NAME, semconv.SERVICE_NAMESPACE, semconv.SERVICE_INSTANCE_ID}
    if identity and not identifying.issuperset(resource):
        labels = label_set(labels_of(resource.items()) | identity)
        yield Points(Family(TARGET_INFO, "gauge", labels), (1.0,))
