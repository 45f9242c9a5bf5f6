"""OTLP to tables: both decoders agree, and nothing a sender writes breaks more than its own request."""

from collections.abc import Callable, Mapping
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from otlp_messages import SPAN_ID, START_NS, TRACE_ID, any_value, call_request, log_request, span_request

from stackctl.bench.requests import add_attribute
from stackctl.embedded.otlp import decode, plain, shape, wide
from stackctl.embedded.otlp.jsonform import MOST_OBJECTS, to_protobuf
from stackctl.embedded.otlp.message import Panicked
from stackctl.embedded.otlp.shape import CORE, LATEST_NS, MAX_DECODED_COLUMNS
from stackctl.embedded.otlp.signals import Refused, Signal

CAPTURES = sorted((Path(__file__).parents[1] / "captures").glob("*/*.traces.pb"))
JSON_COLUMNS = ("events", "links", "rest", "rrest")


def rows(table: pa.Table) -> list[dict[str, Any]]:
    """A table as rows without nulls, its JSON texts parsed."""
    found = [{key: value for key, value in row.items() if value is not None} for row in table.to_pylist()]
    return [{k: orjson.loads(v) if k in JSON_COLUMNS else v for k, v in row.items()} for row in found]


def flat(flatten: Callable[[list[bytes], int], wide.Flat], request: bytes) -> list[dict[str, Any]]:
    """The rows that one decoder makes of a request."""
    return rows(flatten([request], 1).arrays.table())


def one(request: ExportTraceServiceRequest) -> dict[str, Any]:
    (row,) = rows(decode.spans([request.SerializeToString()], 7))
    return row


def test_both_decoders_give_the_same_table_of_every_capture() -> None:
    """The fast decoder can be switched for pure protobuf: real libraries' requests come out the same."""
    requests = [path.read_bytes() for path in CAPTURES]
    fast = decode.gathered_spans(requests, 7)
    plain_table = decode.gathered_spans(requests, 7, decoder="protobuf").table
    assert len(requests) > 20
    assert fast.errors == {}
    assert rows(fast.table) == rows(plain_table)


def test_requests_are_decoded_where_they_lie() -> None:
    """Views of memory that another process wrote, one behind the other or not, hold what the requests hold."""
    requests = [path.read_bytes() for path in CAPTURES]
    whole = decode.gathered_spans(requests, 7).table
    view = memoryview(b"".join(requests))
    ends = [0, *accumulate(map(len, requests))]
    views = [view[start:end] for start, end in pairwise(ends)]
    assert decode.gathered_spans(views, 7).table.equals(whole)
    apart = [memoryview(request) for request in requests]
    assert decode.gathered_spans(apart, 7).table.equals(whole)
    assert decode.gathered_spans([], 7).table.num_rows == 0
    broken = decode.gathered_spans([view[:10], views[0]], 7)
    assert list(broken.errors) == [0]
    assert broken.table.num_rows == decode.gathered_spans(requests[:1], 7).table.num_rows


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8) | st.binary(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
attributes = st.lists(st.tuples(st.sampled_from("abcdé"), values), max_size=6)


def is_read(key: str, _scopes: frozenset[str] = frozenset()) -> bool:
    """Whether the texts of a key are asked for, of those that are drawn here."""
    return key not in ("a", "é")


def without_unread(row: dict[str, Any]) -> dict[str, Any]:
    """A span as it comes where only those texts are asked for."""
    return {
        name: value if name[0] != "s" or name[-1] != "s" or is_read(name[2:-2]) else "" for name, value in row.items()
    }


@given(st.lists(attributes, max_size=4), attributes, attributes)
@settings(max_examples=60, deadline=None)
def test_both_decoders_agree_on_any_attributes(spans: list, resource: list, event: list) -> None:
    """Whatever attribute values, repeated keys and nesting a span has, the two decoders read them alike.

    So they do where texts of some keys are not asked for, which leaves them empty and nothing else changed.
    """
    request = span_request(len(spans))
    for span, pairs in zip(request.resource_spans[0].scope_spans[0].spans, spans, strict=True):
        for key, value in pairs:
            span.attributes.add(key=key).value.CopyFrom(any_value(value))
        for key, value in event:
            (span.events or [span.events.add(name="e", time_unix_nano=5)])[0].attributes.add(key=key).value.CopyFrom(
                any_value(value)
            )
    for key, value in resource:
        request.resource_spans[0].resource.attributes.add(key=key).value.CopyFrom(any_value(value))
    raw = request.SerializeToString()
    assert flat(wide.flatten, raw) == flat(plain.flatten, raw)
    expected = [without_unread(row) for row in rows(decode.spans([raw], 1))]
    for decoder in decode.DECODERS:
        assert rows(decode.gathered_spans([raw], 1, is_read, decoder).table) == expected


def test_a_text_that_nobody_reads_must_be_utf8_all_the_same() -> None:
    """What protobuf does not take is refused, whether somebody would read it or not; keys are told apart by spans."""
    request = span_request(3)
    for number, span in enumerate(request.resource_spans[0].scope_spans[0].spans):
        add_attribute(span.attributes, "prompt", f"capital {number}")
        add_attribute(span.attributes, "model", f"m{number}")
    good = request.SerializeToString()
    bad = good.replace(b"capital 1", b"capital\xff1")
    for decoder in decode.DECODERS:
        found = decode.gathered_spans([good, bad, good], 1, reads=lambda key, _: key == "model", decoder=decoder)
        assert found.errors == {1: decode.NOT_OTLP}
        assert found.table["s:prompt:s"].to_pylist() == [""] * 6
        assert found.table["s:model:s"].to_pylist() == ["m0", "m1", "m2"] * 2


def padded(value: int, extra: int = 0) -> bytes:
    """A varint, with more bytes than it needs."""
    if value >= 128:
        return bytes([value & 127 | 128]) + padded(value >> 7, extra)
    return bytes([value | 128]) + b"\x80" * (extra - 1) + b"\0" if extra else bytes([value])


@st.composite
def spellings(draw: st.DrawFn) -> bytes:
    """One KeyValue as some writer of protobuf may spell it: any order, padded lengths, repeated and unknown fields."""
    text = draw(st.text(max_size=5) | st.sampled_from(["x" * 130, "y" * 17_000])).encode()
    extra = draw(st.integers(0, 2))  # protobuf takes lengths of at most five bytes
    number = draw(st.integers(0, 2**40).map(lambda n: padded(n, extra)) | st.integers(0, 2**64 - 1).map(padded))
    scalars = [
        b"\x0a" + padded(len(text), extra) + text, b"\x18" + number, b"\x10" + draw(st.sampled_from([b"\0", b"\1"])),
        b"\x21" + draw(st.binary(min_size=8, max_size=8)), b"\x2a\0", b"",
    ]  # fmt: skip
    value = b"".join(draw(st.lists(st.sampled_from(scalars), min_size=1, max_size=2)))
    parts = [
        b"\x12" + padded(len(value), extra) + value,
        b"\x0a" + padded(1, extra) + draw(st.sampled_from([b"k", b"l"])),
    ]
    return b"".join(draw(st.lists(st.sampled_from([*parts, b"\x18\5"]), max_size=4) | st.just(parts[::-1])))


@given(st.lists(spellings(), max_size=5))
@settings(max_examples=200, deadline=None)
def test_every_spelling_of_an_attribute_means_the_same(pairs: list[bytes]) -> None:
    """Attributes are read from their bytes: what no library writes but protobuf allows reads as protobuf reads it."""
    span = b"".join(b"\x4a" + padded(len(pair)) + pair for pair in pairs)
    for tag in (b"\x12", b"\x12", b"\x0a"):
        span = tag + padded(len(span)) + span
    fast, slow = (sorted(*map(dict.items, flat(flatten, span))) for flatten in (wide.flatten, plain.flatten))
    assert str(fast) == str(slow)  # as text, in which NaN equals itself


def test_values_of_every_length_read_as_protobuf_reads_them() -> None:
    """Texts up to those that a table knows and beyond, in ASCII and not, and whole numbers of every length."""
    request = span_request(700)
    for size, span in enumerate(request.resource_spans[0].scope_spans[0].spans):
        number = (1 << size % 64) - size % 3
        for key, value in {"text": "x" * size, "word": "é" * size, "number": min(number, 2**63 - 1)}.items():
            add_attribute(span.attributes, key * (1 + 60 * (size % 7 == 0)), value)
    raw = request.SerializeToString()
    assert flat(wide.flatten, raw) == flat(plain.flatten, raw)


def test_attributes_in_any_order_are_found() -> None:
    """Spans of one order of keys, of many, and of keys that come once."""
    for orders in (1, 3, 200):
        request = span_request(200)
        for number, span in enumerate(request.resource_spans[0].scope_spans[0].spans):
            for place in range(6):
                add_attribute(span.attributes, f"key-{(place * (number % orders + 1)) % 7}", number)
            add_attribute(span.attributes, f"only-{number % orders}", "x")
        raw = request.SerializeToString()
        assert flat(wide.flatten, raw) == flat(plain.flatten, raw)


@given(st.lists(attributes, min_size=1, max_size=3), st.lists(st.integers(0, 2), min_size=4, max_size=30), st.data())
@settings(max_examples=60, deadline=None)
def test_spans_of_few_sequences_of_keys_read_alike(kinds: list, orders: list[int], data: st.DataObject) -> None:
    """Spans of a few sequences of keys, the first time and later, whether or not values of a key are of one type."""
    request = span_request(8 * len(orders))
    others = data.draw(st.dictionaries(st.integers(0, 8 * len(orders)), values, max_size=3))
    for number, span in enumerate(request.resource_spans[0].scope_spans[0].spans):
        for key, value in kinds[orders[number // 8] % len(kinds)]:
            span.attributes.add(key=key).value.CopyFrom(any_value(others.get(number, value)))
    raw = request.SerializeToString()
    slow = flat(plain.flatten, raw)
    for _ in range(2):
        assert flat(wide.flatten, raw) == slow
    expected = [without_unread(row) for row in slow]
    assert rows(decode.gathered_spans([raw, raw], 1, is_read).table) == expected * 2


def test_columns_of_one_application_are_remembered_for_as_many_rows_only() -> None:
    """The same resource and scope beside more spans, fewer, and those of another application."""
    one, two = (span_request(spans, resource={"host.name": f"h{spans}", "cpus": spans}) for spans in (3, 5))
    for request in (one, two):
        request.resource_spans[0].scope_spans[0].scope.name = "lib"
    both = ExportTraceServiceRequest(resource_spans=[*one.resource_spans, *two.resource_spans])
    swapped = ExportTraceServiceRequest(resource_spans=[*two.resource_spans, *one.resource_spans])
    for request in (one, two, both, swapped, one, both):
        raw = request.SerializeToString()
        assert flat(wide.flatten, raw) == flat(plain.flatten, raw)


def test_messages_in_pieces_are_joined() -> None:
    """A resource or scope that a sender spreads over several fields is their sum, as protobuf has it."""
    scopes = [ScopeSpans(), ScopeSpans(), ScopeSpans(spans=[Span(trace_id=TRACE_ID, span_id=SPAN_ID)])]
    scopes[0].scope.name, scopes[1].scope.version = "a", "2"
    scope = b"".join(part.SerializeToString() for part in scopes)
    resources = [ResourceSpans(), ResourceSpans()]
    for number, part in enumerate(resources):
        part.resource.attributes.add(key=f"key-{number}").value.int_value = number
    inner = b"".join(part.SerializeToString() for part in resources) + b"\x12" + padded(len(scope)) + scope
    raw = b"\x0a" + padded(len(inner)) + inner
    fast, slow = (flat(flatten, raw) for flatten in (wide.flatten, plain.flatten))
    assert fast == slow
    assert (fast[0]["r:key-0:i"], fast[0]["r:key-1:i"], fast[0]["scope"], fast[0]["scope_version"]) == (0, 1, "a", "2")


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
