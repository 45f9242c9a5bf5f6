"""OTLP to tables: columns say what a request says, and nothing a sender writes breaks more than its own."""

from collections.abc import Mapping
from typing import Any

import orjson
import pyarrow as pa
import pytest
from decoded_rows import CAPTURES, flat, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_messages import SPAN_ID, START_NS, TRACE_ID, call_request, log_request, span_request

from stackctl.bench.requests import add_attribute
from stackctl.embedded.otlp import decode, plain, shape, wide
from stackctl.embedded.otlp.jsonform import MOST_OBJECTS, to_protobuf
from stackctl.embedded.otlp.message import Panicked
from stackctl.embedded.otlp.shape import CORE, LATEST_NS, MAX_DECODED_COLUMNS
from stackctl.embedded.otlp.signals import Refused, Signal


def one(request: ExportTraceServiceRequest) -> dict[str, Any]:
    (row,) = rows(decode.spans([request.SerializeToString()], 7))
    return row


@given(st.binary(max_size=60), st.integers(0, 400))
@settings(max_examples=150, deadline=None)
def test_damaged_requests_never_raise_anything_but_undecodable(noise: bytes, at: int) -> None:
    """Bytes from the network are refused by name or decoded; the process never fails on them."""
    raw = span_request(2, {"a": [1, "x"], "b": {"c": 2.5}}).SerializeToString()
    found = decode.gathered_spans([raw[:at] + noise + raw[at + 1 :], raw], 1)
    assert 1 not in found.errors
    assert found.table.num_rows >= 2


def test_a_bad_request_does_not_hurt_its_neighbours() -> None:
    """In a gathered batch the undecodable request alone is refused."""
    found = decode.gathered_spans([call_request(2), b"no protobuf", call_request(3, first_id=10), b""], 1)
    assert found.errors == {1: "not a valid OTLP protobuf message"}
    assert found.table.num_rows == 5
    with pytest.raises(decode.Undecodable):
        decode.spans([b"no protobuf"], 1)


def test_spans_with_impossible_ids_are_refused_and_counted() -> None:
    """Ids of a wrong length or of zeros cannot be found again: such spans are refused, the others kept."""
    request = span_request(6)
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[1].trace_id = b"short"
    spans[2].span_id = b""
    spans[3].trace_id = bytes(16)
    spans[4].span_id = bytes(8)
    for decoder in decode.DECODERS:
        found = decode.gathered_spans([request.SerializeToString(), call_request()], 1, decoder=decoder)
        assert found.refused == {0: 4}
        assert found.table.num_rows == 3


def test_texts_that_decoding_knows_are_those_of_the_columns() -> None:
    """Rules and series take the distinct texts of resources and scopes as decoding saw them: they are the rows' own."""
    requests = [path.read_bytes() for path in CAPTURES]
    for group in (requests, *([one] for one in requests)):
        arrays = decode.gathered_spans(group, 7).arrays
        assert {"scope", "scope_version", "r:service.name:s"} <= arrays.known.keys()
        for name, coded in arrays.known.items():
            assert [coded.values[code] for code in coded.codes.tolist()] == arrays.columns[name].to_pylist()
            assert set(coded.codes.tolist()) == set(range(len(set(coded.values))))


def test_texts_are_not_known_where_rows_are_others_than_were_decoded() -> None:
    """Where spans are refused, requests come apart, or a resource or scope has no spans, its texts are not known."""
    refused, without_spans, without_scopes = span_request(2), span_request(2), span_request(2)
    refused.resource_spans[0].scope_spans[0].spans[0].span_id = b""
    without_spans.resource_spans[0].scope_spans.add().scope.name = "no spans"
    without_scopes.resource_spans.add().resource.attributes.add(key="k").value.string_value = "no spans"
    of_scope, of_resource = {"scope", "scope_version"}, {"r:service.name:s", "r:k:s", "rrest"}
    for request, unknown in (
        (refused, of_scope | of_resource),
        (without_spans, of_scope),
        (without_scopes, of_resource),
    ):
        arrays = decode.gathered_spans([request.SerializeToString()], 7).arrays
        assert arrays.rows
        assert arrays.known.keys().isdisjoint(unknown)
    assert decode.gathered_spans([call_request(), b"no protobuf", call_request()], 7).arrays.known == {}


def test_core_columns_say_what_the_span_says() -> None:
    """Ids, times, status, scope and arrival stand in their columns, ids as big-endian halves."""
    request = span_request(parent_span_id=SPAN_ID, kind=3, trace_state="a=b")
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.status.code, span.status.message = 2, "rate limited"
    row = one(request)
    assert row["tid_hi"].to_bytes(8, "big") + row["tid_lo"].to_bytes(8, "big") == TRACE_ID
    assert (row["span_id"], row["parent_id"]) == (1, int.from_bytes(SPAN_ID, "big"))
    assert (row["start_ns"], row["dur_ns"], row["arrival_ms"]) == (START_NS, 1_000_000_000, 7)
    assert (row["kind"], row["status"], row["status_msg"]) == (3, 2, "rate limited")
    assert (row["scope"], row["scope_version"], row["r:service.name:s"]) == ("shop.calls", "1.2", "shop")


def test_one_key_may_have_several_types() -> None:
    """A key's values stand in a column per type, so that files with different types unite."""
    table = pa.concat_tables(
        [decode.spans([span_request(1, {"k": v}).SerializeToString()], 1) for v in ("x", 1, 0.5, True)],
        promote_options="default",
    )
    assert [row.get(f"s:k:{t}") for row, t in zip(table.to_pylist(), "sidb", strict=True)] == ["x", 1, 0.5, True]


def test_nested_values_become_json_in_rest() -> None:
    """Arrays, maps and bytes are kept as JSON, bytes as data URIs; an attribute without a value is none."""
    row = one(span_request(1, {"list": ["a", 1, None], "map": {"x": {"y": 2}}, "raw": b"\x00\xff", "nothing": None}))
    assert row["rest"] == {"list": ["a", 1, None], "map": {"x": {"y": 2}}, "raw": "data:;base64,AP8="}


@pytest.mark.parametrize(
    ("start", "end", "stored"),
    [
        (2**64 - 1, 2**63, (LATEST_NS, 0)),
        (0, 2**64 - 1, (0, LATEST_NS)),
        (2**63, 0, (LATEST_NS, -LATEST_NS)),
        (5, 3, (5, -2)),
    ],
)
def test_nonsense_times_are_held_where_queries_can_add_them(start: int, end: int, stored: tuple[int, int]) -> None:
    """One span's absurd timestamps would overflow the arithmetic of every search over its segment."""
    raw = span_request(start_time_unix_nano=start, end_time_unix_nano=end).SerializeToString()
    for flatten in (wide.flatten, plain.flatten):
        (row,) = flat(flatten, raw)
        assert (row["start_ns"], row["dur_ns"]) == stored


@pytest.mark.parametrize("number", [-1, 99, 2**31 - 1])
def test_kinds_and_statuses_that_do_not_exist_say_nothing(number: int) -> None:
    """An enumeration's unknown number is its unspecified one, for every reader behind."""
    request = span_request(kind=number)
    request.resource_spans[0].scope_spans[0].spans[0].status.code = number
    for flatten in (wide.flatten, plain.flatten):
        (row,) = flat(flatten, request.SerializeToString())
        assert (row["kind"], row["status"]) == (0, 0)


def test_values_in_key_names_do_not_make_endless_columns() -> None:
    """A sender that puts values into names gets no more columns than the cap; nothing of it is lost."""
    many = {f"key{n}": n for n in range(MAX_DECODED_COLUMNS + 50)}
    table = decode.spans([span_request(2, many).SerializeToString()], 1)
    assert len([name for name in table.column_names if name.startswith("s:")]) == MAX_DECODED_COLUMNS
    assert all(len(row["rest"]) == 50 for row in rows(table))


@pytest.mark.parametrize("decoder", decode.DECODERS)
def test_many_spans_of_many_keys_make_no_endless_table(monkeypatch: pytest.MonkeyPatch, decoder: str) -> None:
    """Columns times rows are bounded: a small request must not become gigabytes; nothing of it is lost."""
    monkeypatch.setattr(shape, "_MAX_PLACES", 500)
    requests = [_of_resource({f"key{n}": n, "same": n}, n) for n in range(1, 101)]
    table = decode.gathered_spans(requests, 1, decoder=decoder).table
    placed = [name for name in table.column_names if name.startswith("r:")]
    assert (len(placed), "r:same:i" in placed) == (5, True)
    unplaced = [orjson.loads(text) for text in table.column("rrest").to_pylist() if text is not None]
    assert sum(map(len, unplaced)) == 200 - 100 - 4


def test_no_spans_give_an_empty_table_of_the_same_shape() -> None:
    """Empty requests are valid and change nothing."""
    for requests in ([], [b""], [ExportTraceServiceRequest().SerializeToString()]):
        table = decode.spans(requests, 1)
        assert table.num_rows == 0
        assert table.schema.names[: len(CORE)] == CORE.names


def test_evaluations_are_taken_out_of_logs_and_the_rest_is_counted() -> None:
    """Only evaluation results are stored of logs; a score without a number is no score."""
    good = {"gen_ai.evaluation.name": "grounded", "gen_ai.evaluation.score.value": 1, "gen_ai.response.id": "r1"}
    failed = {"gen_ai.evaluation.name": "grounded", "error.type": "timeout", "gen_ai.evaluation.score.value": "n/a"}
    found = decode.gathered_evaluations([log_request(good, failed), log_request({"a": 1}, event="other"), b"\xff"], 9)
    assert (found.dropped, found.errors) == (1, {2: "not a valid OTLP protobuf message"})
    first, second = found.table.to_pylist()
    assert (first["name"], first["score"], first["response_id"], first["arrival_ms"]) == ("grounded", 1.0, "r1", 9)
    assert (second["score"], second["label"], second["error_type"]) == (None, None, "timeout")
    assert first["r:service.name:s"] == "shop"


def test_otlp_json_means_the_same_as_protobuf() -> None:
    """Hex ids, integers as strings, enums as numbers or names, unknown keys ignored."""
    span = {
        "traceId": TRACE_ID.hex().upper(), "spanId": SPAN_ID.hex(), "name": "chat", "kind": "SPAN_KIND_CLIENT",
        "startTimeUnixNano": str(START_NS), "endTimeUnixNano": START_NS + 5, "status": {"code": 2}, "unknown": [1],
        "attributes": [
            {"key": "i", "value": {"intValue": "-3"}}, {"key": "d", "value": {"doubleValue": "NaN"}},
            {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "a"}]}}},
            {"key": "empty", "value": {"arrayValue": {}}}, {"key": "raw", "value": {"bytesValue": "AP8="}},
        ],
    }  # fmt: skip
    body = orjson.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}], "more": None})
    (row,) = rows(decode.spans([to_protobuf(Signal.TRACES, body)], 1))
    assert (row["kind"], row["status"], row["start_ns"], row["dur_ns"], row["s:i:i"]) == (3, 2, START_NS, 5, -3)
    assert row["rest"] == {"list": ["a"], "empty": [], "raw": "data:;base64,AP8="}
    assert row["tid_hi"].to_bytes(8, "big") == TRACE_ID[:8]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"resourceSpans": 3}', b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}',
     b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":1.5}]}]}]}', b'{"resourceSpans":[' * 900],
)  # fmt: skip
def test_json_that_is_no_request_is_refused(body: bytes) -> None:
    """No JSON, other JSON, wrong types and endless nesting are refused as invalid, without quoting content."""
    with pytest.raises(Refused) as caught:
        to_protobuf(Signal.TRACES, body)
    assert caught.value.kind.http == 400
    assert caught.value.message == "not valid OTLP/JSON for /v1/traces"


def test_json_of_too_many_objects_is_refused() -> None:
    """Three bytes write an object that takes two hundred: beyond a million of them nothing is read at all."""
    few, many = (b'{"resourceSpans":[' + b"{}," * (count - 3) + b"{}]}" for count in (1000, MOST_OBJECTS + 1))
    to_protobuf(Signal.TRACES, few)
    with pytest.raises(Refused) as refused:
        to_protobuf(Signal.TRACES, many)
    assert refused.value.kind.http == 413


def test_deeply_nested_values_are_refused_not_followed() -> None:
    """A recursion bomb in an attribute is an undecodable request."""
    inner = b"\x0a\x01x"
    for _ in range(150):
        array = b"\x0a" + _varint(len(inner)) + inner
        inner = b"\x2a" + _varint(len(array)) + array
    pair = b"\x0a\x01k\x12" + _varint(len(inner)) + inner
    span = b"\x0a\x10" + TRACE_ID + b"\x12\x08" + SPAN_ID + b"\x4a" + _varint(len(pair)) + pair
    for tag in (b"\x12", b"\x12", b"\x0a"):
        span = tag + _varint(len(span)) + span
    assert decode.gathered_spans([span], 1).errors == {0: "not a valid OTLP protobuf message"}


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


def test_a_decoder_that_panics_hurts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A length beyond the message makes ptars panic, which is no Exception: the request is refused, others stay."""
    good = call_request(2)
    panics = good.replace(b"\x4a", b"\x4a" + b"\xff" * 9 + b"\x01", 1)
    with pytest.raises(Panicked):
        wide.flatten([panics], 0)
    found = decode.gathered_spans([good, panics], 0)
    assert found.table.num_rows == 2
    assert found.errors == {1: decode.NOT_OTLP}

    def panicked(*_: object) -> None:
        raise Panicked

    monkeypatch.setitem(decode.DECODERS, "ptars", panicked)
    assert decode.gathered_spans([good, good], 0).table.num_rows == 4  # what protobuf takes is taken


def test_resources_seen_before_read_as_those_seen_first() -> None:
    """A resource is decoded once and remembered: later requests, alone or among others, show the same attributes."""
    requests = [_of_resource({"service.name": f"app-{n % 3}", "replica": n % 3}, n) for n in range(1, 7)]
    alone = [row for request in requests for row in rows(decode.spans([request], 1))]
    together = decode.spans(requests, 1)
    assert rows(together) == alone
    assert together.column("r:service.name:s").to_pylist() == ["app-1", "app-2", "app-0"] * 2
    assert together.column("r:replica:i").to_pylist() == [1, 2, 0] * 2


def test_resources_with_many_keys_stay_within_the_cap_of_columns() -> None:
    """However many resources come together, what has no column is still there as JSON."""
    requests = [_of_resource({f"key-{n}-{m}": m for m in range(20)}, n) for n in range(1, 101)]
    table = decode.spans(requests, 1)
    placed = [name for name in table.column_names if name.startswith("r:")]
    assert len(placed) == MAX_DECODED_COLUMNS
    unplaced = [orjson.loads(text) for text in table.column("rrest").to_pylist() if text is not None]
    assert len(placed) + sum(map(len, unplaced)) == 100 * 20


def _of_resource(attributes: Mapping[str, str | int], number: int) -> bytes:
    """A request of one span of an application."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add()
    for key, value in attributes.items():
        add_attribute(spans.resource.attributes, key, value)
    spans.scope_spans.add().spans.add(trace_id=number.to_bytes(16, "big"), span_id=number.to_bytes(8, "big"), name="x")
    return request.SerializeToString()
