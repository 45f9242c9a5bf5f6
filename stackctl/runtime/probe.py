"""The proof that a stack works: one span and one sample go in at the OTLP port and come out at both query APIs.

It leaves nothing a person sees: the span is no LLM call, so no `llm_*` total moves, and search leaves its service out.
Heavy to import (0.25 s), so `up` does that while the engine starts.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_bytes

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stackctl.clients import PrometheusClient, TempoClient
from stackctl.errors import NotConverged, NotFound, StackctlError, StackNotRunning, UpstreamFailed
from stackctl.runtime.state import RunningStack
from stackctl.semconv import SERVICE_NAME
from stackctl.stack import PROBE_METRIC, PROBE_SERIES, PROBE_SERVICE

DEADLINE_SECONDS = 10.0
_PAUSE_SECONDS = 0.03
# A Collector whose queue for Tempo is full takes a span and drops it: once there is room, one is sent again.
_AGAIN_SECONDS = 5.0
_TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


@dataclass(frozen=True)
class Probe:
    """What is sent.

    Attributes:
        trace_id: 16 bytes.
        time_ns: when, nanoseconds since the epoch; the sample's value is the same time in seconds.
    """

    trace_id: bytes
    span_id: bytes
    time_ns: int

    @property
    def value(self) -> float:
        """The sample's value, by which it is recognised."""
        return self.time_ns / 1e9

    def spans(self) -> bytes:
        """Return the trace export request."""
        request = ExportTraceServiceRequest()
        group = request.resource_spans.add()
        group.resource.attributes.add(key=SERVICE_NAME).value.string_value = PROBE_SERVICE
        group.scope_spans.add().spans.add(
            trace_id=self.trace_id,
            span_id=self.span_id,
            name="probe",
            start_time_unix_nano=self.time_ns,
            end_time_unix_nano=self.time_ns + 1,
        )
        return request.SerializeToString()

    def metrics(self) -> bytes:
        """Return the metrics export request."""
        request = ExportMetricsServiceRequest()
        group = request.resource_metrics.add()
        group.resource.attributes.add(key=SERVICE_NAME).value.string_value = PROBE_SERVICE
        metric = group.scope_metrics.add().metrics.add(name=PROBE_METRIC, unit="s")
        metric.gauge.data_points.add(time_unix_nano=self.time_ns, as_double=self.value)
        return request.SerializeToString()


def prove(stack: RunningStack, deadline_seconds: float = DEADLINE_SECONDS) -> None:
    """Send a probe and read it back; what does not come out is sent again, the same.

    Raises:
        NotConverged: it was refused or did not come out in time; the message says where it got stuck.
    """
    probe = Probe(token_bytes(16), token_bytes(8), time.time_ns())
    token = stack.token()
    address = stack.url("otlp_grpc")
    _send(address, token, probe)
    deadline = time.monotonic() + deadline_seconds
    with (
        TempoClient(stack.url("tempo"), token) as tempo,
        PrometheusClient(stack.url("prometheus"), token) as prometheus,
    ):
        for what, endpoint, arrived in (
            ("span", "tempo", lambda: _span_is_there(tempo, probe)),
            ("sample", "prometheus", lambda: _sample_is_there(prometheus, probe)),
        ):
            _await(what, endpoint, arrived, lambda: _send(address, token, probe), deadline)


def _send(address: str, token: str | None, probe: Probe) -> None:
    # The proxy of the user's shell is not for a stack of this machine.
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        for method, request in ((_TRACES, probe.spans()), (_METRICS, probe.metrics())):
            call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
            try:
                call(request, timeout=DEADLINE_SECONDS, metadata=metadata)
            except grpc.RpcError as error:
                raise NotConverged(
                    f"the probe was refused at {address}: {error.code().name}: {error.details()}",
                    next_step="look at the logs: stackctl logs",
                ) from error


def _span_is_there(tempo: TempoClient, probe: Probe) -> bool:
    try:
        tempo.trace(probe.trace_id.hex())
    except NotFound:
        return False
    return True


def _sample_is_there(prometheus: PrometheusClient, probe: Probe) -> bool:
    return any(sample.value == probe.value for sample in prometheus.instant(PROBE_SERIES))


def _await(
    what: str, endpoint: str, arrived: Callable[[], bool], send_again: Callable[[], None], deadline: float
) -> None:
    trouble: StackctlError | None = None
    sent = time.monotonic()
    while time.monotonic() < deadline:
        try:
            if arrived():
                return
            trouble = None
        except (UpstreamFailed, StackNotRunning) as error:
            trouble = error
        if time.monotonic() - sent > _AGAIN_SECONDS:
            send_again()
            sent = time.monotonic()
        time.sleep(_PAUSE_SECONDS)
    detail = f": {trouble.message}" if trouble else ""
    raise NotConverged(
        f"the probe's {what} went in but did not come out at {endpoint}{detail}",
        next_step="look at the logs: stackctl logs",
    )
