"""A trace in JSON, which is written out of stored rows, is protobuf's own JSON of the message that Grafana asks for."""

import base64
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from span_store import Given, evaluation_request, trace_hex, write_store

from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.traces import otlp
from stackctl.embedded.traces.database import SpanDatabase
from stackctl.embedded.traces.tracejson import trace_json

SPANS = [
    Given(1, 1, 0, "root", 0, 10, kind=2, attributes={"s": "x", "i": 2**40, "d": 0.5, "b": False, "": "nameless"}),
    Given(1, 2, 1, "", 1, 0, kind=0, status=2, message="no", attributes={"list": ["a", 1], "map": {"k": True}}),
    Given(1, 3, 1, "bad", 1, 3, kind=5, status=1, attributes={"nan": float("nan"), "inf": float("-inf"), "big": 1e300}),
    Given(1, 4, 9, "orphan", 2, events=[("first", {"k": 1, "": 0.0}), ("", {})], links=[(7, 8), (1, 1)]),
    Given(1, 5, 1, "other", 3, resource={"service.name": "b", "tags": ["x"]}, scope="", message="said"),
]


def test_json_is_that_of_the_message(tmp_path: Path) -> None:
    """Every type of value, empty and absent fields, events, links, evaluations, resources and scopes."""
    judged = [evaluation_request(1, 3, {"gen_ai.evaluation.name": "grounded", "gen_ai.evaluation.score.value": 0.0})]
    write_store(tmp_path, sealed=SPANS[:2], hot=SPANS[2:], evaluations=judged)
    database = SpanDatabase(SpanReader(tmp_path), tmp_path / "spans")
    with database.session() as session:
        found = otlp.trace(session, trace_hex(1))
    database.close()
    assert found is not None
    expected = MessageToDict(otlp.message(found))
    written = trace_json(found, "resourceSpans")
    assert written == expected
    spans = _spans(written)
    assert len(spans) == len(SPANS)
    assert spans["bad"]["events"][0]["name"] == "gen_ai.evaluation.result"
    assert base64.b64decode(spans["root"]["traceId"]).hex() == trace_hex(1)


def _spans(written: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        span.get("name", ""): span
        for resource in written["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    }
