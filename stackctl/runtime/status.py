"""What `up` and `status` report: each component as the supervisor, the system and the engine itself see it."""

import http.client
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import psutil

from stackctl.reports import ComponentReport, StackReport, StatusReport
from stackctl.runtime import state
from stackctl.runtime.logs import timestamp

_TIMEOUT_SECONDS = 2.0


def report(stack: state.RunningStack) -> StackReport:
    """Return the report of `up`."""
    return StackReport(
        runtime=stack.runtime,
        components=tuple(_component(stack, component) for component in stack.components),
        endpoints=dict(stack.endpoints),
        data_dir=str(stack.data_dir),
        token_file=str(stack.token_file) if stack.token_file else None,
    )


def status(stack: state.RunningStack) -> StatusReport:
    """Return the report of `status`: that of `up`, and what the engine counts."""
    base = report(stack)
    return StatusReport(
        **{field.name: getattr(base, field.name) for field in fields(base)},
        disk_bytes=disk_bytes(stack.data_dir),
        engine=engine_counters(stack),
    )


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
    return ComponentReport(
        name=component.name,
        state=component.state,
        version=stack.version,
        endpoint=stack.endpoints.get(component.endpoint),
        since=timestamp(component.since) if component.since else None,
        memory_bytes=_memory(component.process),
        restarts=component.restarts,
    )


def _memory(process: state.Process | None) -> int | None:
    if process is None or not process.running():
        return None
    try:
        return int(psutil.Process(process.pid).memory_info().rss)
    except psutil.Error:  # it ended between the two lines
        return None
