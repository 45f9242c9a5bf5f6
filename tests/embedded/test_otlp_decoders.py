"""Two decoders of OTLP: the fast one reads as the one that protobuf itself reads for, whatever a sender writes."""

from itertools import accumulate, pairwise
from typing import Any

from decoded_rows import CAPTURES, flat, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from otlp_messages import SPAN_ID, TRACE_ID, any_value, span_request

from stackctl.bench.requests import add_attribute
from stackctl.embedded.otlp import decode, plain, wide


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
