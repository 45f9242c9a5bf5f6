"""What `up` and `status` report: each component as the supervisor, the system and the engine itself see it.

For the docker runtime the containers are asked of the Docker engine, and how they fare of themselves.
"""

import http.client
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from stackctl.errors import StackctlError
from stackctl.reports import ComponentReport, StackReport, StatusReport
from stackctl.resident import resident_bytes
from stackctl.runtime import console, containers, engine, state
from stackctl.runtime.logs import timestamp
from stackctl.stack import COMPONENTS

_TIMEOUT_SECONDS = 2.0
# What `status` tells of the Collector: name, and the PromQL of its sum.
COLLECTOR_COUNTERS: Mapping[str, str] = {
    "received_spans": "sum(otelcol_receiver_accepted_spans)",
    "refused_spans": "sum(otelcol_receiver_refused_spans)",
    "sent_spans": "sum(otelcol_exporter_sent_spans)",
    "queued_requests": 'sum(otelcol_exporter_queue_size{exporter="otlp_grpc/tempo"})',
    "queue_full_spans": "sum(otelcol_exporter_enqueue_failed_spans)",
    "failed_spans": "sum(otelcol_exporter_send_failed_spans)",
    "unredacted_spans": 'sum(otelcol_processor_filter_spans_filtered{filter="filter/redacted"})',
}


def report(stack: state.RunningStack) -> StackReport:
    """Return the report of `up`."""
    processes = tuple(_component(stack, component) for component in stack.components)
    return StackReport(
        runtime=stack.runtime,
        components=processes if stack.project is None else (*_containers(stack, stack.project), *processes),
        endpoints=dict(stack.endpoints),
        data_dir=str(stack.data_dir),
        token_file=str(stack.token_file) if stack.token_file else None,
        network=stack.project,
        password_file=_password_file(stack),
    )


def status(stack: state.RunningStack) -> StatusReport:
    """Return the report of `status`: that of `up`, and what the engine counts."""
    base = report(stack)
    known = {field.name: getattr(base, field.name) for field in fields(base)}
    if stack.project is None:
        return StatusReport(**known, disk_bytes=disk_bytes(stack.data_dir), engine=engine_counters(stack))
    volumes = containers.disk_bytes(engine.connect(), stack.project)
    return StatusReport(
        **known,
        disk_bytes=disk_bytes(stack.data_dir) + volumes,
        engine=None,
        collector=collector_counters(stack),
    )


def healthy(found: StackReport) -> bool:
    """True when every component is."""
    return all(component.state == state.HEALTHY for component in found.components)


def collector_counters(stack: state.RunningStack) -> Mapping[str, float] | None:
    """Return the sums of the Collector's own counters, as Prometheus has them; None when it does not answer."""
    from stackctl.clients import PrometheusClient  # heavy, and of use with containers only

    counters: dict[str, float] = {}
    try:
        with PrometheusClient(stack.url("prometheus"), stack.token()) as prometheus:
            for name, query in COLLECTOR_COUNTERS.items():
                for sample in prometheus.instant(query):
                    counters[name] = sample.value
    except StackctlError:
        return None
    return counters


def engine_counters(stack: state.RunningStack) -> Mapping[str, Any] | None:
    """Return what the ingest process counts (`GET /-/status`); None when it does not answer."""
    parts = urlsplit(stack.url("otlp_http"))
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)
    token = stack.token()
    try:
        connection.request("GET", "/-/status", headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        body = response.read()
        if response.status != http.client.OK:
            return None
        counters: dict[str, Any] = orjson.loads(body)
    except (OSError, http.client.HTTPException, orjson.JSONDecodeError):
        return None
    finally:
        connection.close()
    return counters


def _containers(stack: state.RunningStack, name: str) -> Iterator[ComponentReport]:
    """Yield the report of each component that is or should be a container; one that is gone is `stopped`."""
    client = engine.connect()
    found = containers.of_project(client, name)
    for component in COMPONENTS:
        container = found.get(component.name)
        endpoint = stack.endpoints.get(component.serves[0])
        if container is not None:
            yield ComponentReport(
                name=component.name,
                state=container.state(),
                version=container.version,
                endpoint=endpoint,
                since=container.since,
                memory_bytes=containers.memory_bytes(client, container),
                restarts=container.restarts,
                image=container.image,
                digest=container.digest,
            )
        elif component.name in stack.services:
            yield ComponentReport(component.name, state.STOPPED, "unknown", endpoint, None, None, 0)


def _password_file(stack: state.RunningStack) -> str | None:
    return str(stack.compose_directory / ".env") if console.GRAFANA in stack.services else None


def disk_bytes(data_dir: Path) -> int:
    """Return the bytes that the files of a data directory take; one that vanishes meanwhile counts nothing."""
    total = 0
    for path in data_dir.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512  # st_blocks counts 512-byte units, stat(2)
        except FileNotFoundError:
            continue
    return total


def _component(stack: state.RunningStack, component: state.ComponentState) -> ComponentReport:
    process = component.process
    return ComponentReport(
        name=component.name,
        state=component.state if stack.supervised() else state.STOPPED,  # they die with their supervisor
        version=stack.version,
        endpoint=stack.endpoints.get(component.endpoint),
        since=timestamp(component.since) if component.since else None,
        memory_bytes=resident_bytes(process.pid) if process is not None and process.running() else None,
        restarts=component.restarts,
    )
