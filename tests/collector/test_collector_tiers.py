"""Service tiers and IPv6 addresses in the Collector: priced as in columns."""

from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from span_store import Given, otlp_request

from stackctl import semconv
from stackctl.collector.render import CollectorSettings
from stackctl.embedded.otlp import decode
from stackctl.genai.prices import provider_of, shipped
from stackctl.stack import hosts_of
from tests.collector.real import SPANS, to_files, until, written
from tests.genai import test_service_tier as tiers
from tests.genai.test_prices import ADDRESSES, HOSTS_OF_THE_USER

pytestmark = pytest.mark.realstack


def _stored(directory: Path, settings: CollectorSettings, body: bytes, count: int) -> list[dict[str, object]]:
    """Return what the Collector stores of a request."""

    def rows() -> list[dict[str, object]]:
        requests = written(directory / SPANS, ExportTraceServiceRequest)
        found: list[dict[str, object]] = decode.spans([r.SerializeToString() for r in requests], 1).to_pylist()
        return found

    with to_files(directory, settings) as collector:
        assert collector.send("traces", body) == 200
        until(lambda: bool((directory / SPANS).exists()) and len(rows()) >= count, "the spans")
    return rows()


def test_a_tier_has_a_price_of_its_own_or_none(tmp_path: Path) -> None:
    """The same calls as in columns, priced by the same rows."""
    settings = CollectorSettings(book=shipped().with_own([tiers.FLEX, tiers.PRIORITY]))
    tiers.check(_stored(tmp_path, settings, tiers.body(), len(tiers.CALLS)))


def test_an_address_names_the_same_provider(tmp_path: Path) -> None:
    """IPv6 addresses with and without brackets and ports find the user's rows as they do in columns."""
    hosts = hosts_of(HOSTS_OF_THE_USER)
    calls = [
        Given(
            number,
            number,
            0,
            "chat m",
            number,
            attributes={
                semconv.OPERATION: "chat",
                semconv.PROVIDER: "openai",
                semconv.SERVER_ADDRESS: address,
                semconv.RESPONSE_MODEL: "gpt-4o",
                semconv.INPUT_TOKENS: 1,
                semconv.OUTPUT_TOKENS: 1,
            }
            | ({semconv.SERVER_PORT: port} if port else {}),
        )
        for number, (address, port, _) in enumerate(ADDRESSES, 1)
    ]
    settings = CollectorSettings(price_hosts=hosts)
    stored = _stored(tmp_path, settings, otlp_request(calls), len(calls))
    for (address, port, provider), (_, _, status) in zip(ADDRESSES, tiers.as_priced(stored), strict=True):
        assert provider_of(address, None, hosts, port) == provider
        known = shipped().find(provider, "gpt-4o") is not None
        assert status == ("priced" if known else "unpriced"), (address, port)
