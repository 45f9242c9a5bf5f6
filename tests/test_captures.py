"""What real libraries sent, through the real ports: the stack shows what happened, and none of what was said.

Held against `truth.json` and, for further scenarios of the same libraries, `more.json`: what each program really did.
Where the stack says less, or something else, the reason stands in `EXCEPTIONS`: a library that does not tell, or tells
wrongly, which no rule over one span can mend.
"""

import fnmatch
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stackctl import semconv
from stackctl.clients import PrometheusClient, TempoClient
from stackctl.clients.traces import Span
from tests.conftest import LiveStack, run_stackctl
from tests.stored import hits

CAPTURES = Path(__file__).parent / "captures"
TRUTH: dict[str, Any] = {
    name: capture
    for file in ("truth.json", "more.json")
    for name, capture in orjson.loads((CAPTURES / file).read_bytes())["captures"].items()
}
NAMES = sorted(TRUTH)
# The strings of every prompt, answer and tool of the captures.
CANARIES = ("You are terse", "What is the capital", "The capital of France", "get_weather")
TOML = '[prices.hosts]\n"127.0.0.1" = "openai"\n"localhost" = "openai"\n'
# Clients add up to this to what the simulator took, in seconds: the first async call of a process is slow.
CLIENT_SECONDS = 0.15
# Some stamp the first chunk by another clock than their span's start.
CLOCK_SECONDS = 0.005

TOKENS = {
    "input_tokens": semconv.INPUT_TOKENS,
    "output_tokens": semconv.OUTPUT_TOKENS,
    "cache_read_tokens": semconv.CACHE_READ_TOKENS,
    "cache_write_tokens": semconv.CACHE_WRITE_TOKENS,
    "reasoning_tokens": semconv.REASONING_TOKENS,
}


@dataclass(frozen=True)
class Unknowable:
    """Where the stack cannot show what happened.

    Attributes:
        captures: a pattern of file names.
        facts: of each call, or `calls` for their number.
        shown: what stands there instead, where the truth is not unknown as well.
        reason: why no rule over one span can know better.
        but: patterns of file names that it does not excuse.
    """

    captures: str
    facts: tuple[str, ...]
    shown: Any
    reason: str
    but: tuple[str, ...] = ()


FULL_PRICE = "0.0002142"
_DETAILS = ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_NOT_SENT = "not sent by this library"
_CUT_OFF = "not sent for what was cut off"
EXCEPTIONS = (
    Unknowable("double-*", ("calls",), 2, "two instrumentors on one call: two spans alike, told by their nesting only"),
    Unknowable("vercel-ai-7*/embeddings_429", ("calls",), 2, "of a failed embedding it sends two spans, all alike"),
    Unknowable("openai-v2-*", _DETAILS, None, "never sent by this library"),
    Unknowable("double-*", _DETAILS, None, "never sent by this library"),
    Unknowable("openai-v2-*/[!e]*", ("cost_usd",), FULL_PRICE, "right but for the cached share, which is not sent"),
    Unknowable("double-*", ("cost_usd",), FULL_PRICE, "right but for the cached share, which is not sent"),
    Unknowable("openai-v2-*/*stream*", ("finish_reason",), None, "not sent for streams"),
    Unknowable("openai-v2-*/gather", ("finish_reason",), None, "not sent for streams"),
    Unknowable("openai-v2-*", ("first_chunk",), None, "not sent"),
    Unknowable(
        "openai-v2-*/stream_closed", ("fine",), True, "it looks like a whole stream whose usage nobody asked for"
    ),
    Unknowable(
        "*/error_429_stream",
        ("stream",),
        False,
        "the flag is set with the first chunk, and none came",
        but=("pydantic-*",),
    ),
    Unknowable("vercel-ai-7*/stream_disconnect", ("stream",), False, "a failed call without any sign of a stream"),
    Unknowable("vercel-ai-7*/stream_disconnect", ("first_chunk", "response_model"), None, _CUT_OFF),
    Unknowable("vercel-ai-7*/stream_aborted", ("first_chunk", "response_model"), None, _CUT_OFF),
    Unknowable(
        "*/responses_*",
        ("first_chunk",),
        None,
        "these libraries stamp `response.created`, which is no token, or send nothing",
        but=("vercel-*", "pydantic-*"),
    ),
    Unknowable("traceloop-*", ("cache_write_tokens",), None, _NOT_SENT),
    Unknowable("traceloop-*/stream_usage", ("reasoning_tokens",), None, "not sent for streams"),
    Unknowable("traceloop-openai-0.44*", ("reasoning_tokens",), None, "not sent by this release"),
    Unknowable("traceloop-*/responses_disconnect", ("response_model",), None, _CUT_OFF),
    Unknowable("traceloop-openai-0.44*/responses", ("finish_reason",), None, "not sent for the Responses API"),
    Unknowable("openinference-*/responses*", ("finish_reason",), None, "not sent for the Responses API"),
    Unknowable("openlit-*/[!r]*", ("reasoning_tokens",), None, "sent for the Responses API only"),
    Unknowable("openlit-*/responses*", ("finish_reason",), "completed", "the answer's status in its place"),
    Unknowable("vercel-ai-7*", ("reasoning_tokens",), None, _NOT_SENT),
    Unknowable("vercel-ai-*/stream_tool_calls", ("finish_reason",), "tool-calls", "the same in its own spelling"),
    Unknowable("vercel-ai-*/embeddings", ("response_model",), None, _NOT_SENT),
    Unknowable("vercel-ai-*/object_stream", ("cache_write_tokens",), None, "not sent for objects"),
    Unknowable("litellm-*-otelv2/*", ("reasoning_tokens",), None, _NOT_SENT),
    Unknowable("litellm-*/stream_usage", ("response_model",), "gpt-4o-mini", "it copies the model asked for"),
    Unknowable("litellm-*/stream_nousage", ("response_model",), "gpt-4o-mini", "it copies the model asked for"),
    Unknowable("litellm-*/stream_disconnect*", ("response_model",), None, _CUT_OFF),
    Unknowable("litellm-1.106.2/stream_*", ("first_chunk",), None, "sent as a metric only, which names no call"),
    Unknowable("litellm-*-otelv2/stream_usage", ("first_chunk",), 0.888, "its first call's time includes lazy imports"),
    Unknowable("litellm-1.106.2/responses*", ("finish_reason",), "completed", "the answer's status in its place"),
    Unknowable("langfuse-*/[!e]*", ("request_model",), None, "sent only for what failed before an answer"),
    Unknowable("langfuse-*/embeddings", ("request_model",), None, "sent only for what failed before an answer"),
    Unknowable("langfuse-*/chat", ("finish_reason",), None, "sent for streams only"),
    Unknowable("langfuse-*/tool_calls", ("finish_reason",), None, "sent for streams only"),
    Unknowable("langfuse-*/responses_*", ("finish_reason",), None, "not sent for the Responses API"),
)


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """A stack that knows the captures' loopback server as OpenAI, with every capture sent once."""
    yield from _stack_with_captures(tmp_path_factory.mktemp("captures"))


def _stack_with_captures(home: Path, *flags: str) -> Iterator[LiveStack]:
    (home / "stackctl.toml").write_text(TOML)
    data = home / "data"
    up = run_stackctl("up", "--runtime", "embedded", "--ports", "auto", "--data-dir", data, "--json", *flags, home=home)
    assert up.code == 0, up.stderr
    stack = LiveStack(data, up.json()["endpoints"])
    try:
        _send(stack)
        yield stack
    finally:
        run_stackctl("down", "--data-dir", data, home=home)


def _send(stack: LiveStack) -> None:
    """Send every capture over HTTP, four at a time."""

    files = [CAPTURES / f"{name}.{signal}.pb" for name in NAMES for signal in TRUTH[name]["signals"]]
    assert len(files) == len(list(CAPTURES.glob("*/*.pb")))
    headers = {"content-type": "application/x-protobuf"}
    with (
        httpx2.Client(base_url=stack.endpoints["otlp_http"], headers=headers, trust_env=False, timeout=60) as http,
        ThreadPoolExecutor(4) as pool,
    ):
        posts = [pool.submit(http.post, f"/v1/{path.suffixes[-2][1:]}", content=path.read_bytes()) for path in files]
        assert [post.result().status_code for post in posts] == [200] * len(files)


@pytest.fixture(scope="module")
def calls(captured: LiveStack) -> dict[str, list[Span]]:
    """The accounted spans of each capture as the Tempo port shows them, in order of their start."""
    tempo = TempoClient(captured.endpoints["tempo"])

    def accounted(name: str) -> list[Span]:
        spans = [span for trace in _trace_ids(name) for span in tempo.trace(trace).spans]
        found = [span for span in spans if span.attributes.get(semconv.ACCOUNTED) is True]
        return sorted(found, key=lambda span: span.start_ns)

    return {name: accounted(name) for name in NAMES}


def _trace_ids(name: str) -> set[str]:
    request = ExportTraceServiceRequest.FromString((CAPTURES / f"{name}.traces.pb").read_bytes())
    scopes = (scope for resource in request.resource_spans for scope in resource.scope_spans)
    return {span.trace_id.hex() for scope in scopes for span in scope.spans}


@pytest.mark.parametrize("name", NAMES)
def test_a_capture_shows_what_happened(name: str, calls: dict[str, list[Span]]) -> None:
    """Calls, models, provider, tokens by type, cost, stream, first chunk, end and status are true or excepted."""
    truth = TRUTH[name]["calls"]
    assert len(calls[name]) == _expected(name, "calls", len(truth))
    for span, call in zip(calls[name], truth * len(calls[name]), strict=False):
        shown = _shown(span)
        happened = {fact: _expected(name, fact, value) for fact, value in _happened(call).items()}
        first, true_first = shown.pop("first_chunk"), happened.pop("first_chunk")
        assert shown == happened
        if true_first is None:
            assert first is None
        else:
            assert true_first - CLOCK_SECONDS <= first <= true_first + CLIENT_SECONDS


def _shown(span: Span) -> dict[str, Any]:
    """What a reader is told of a call."""
    attributes = span.attributes
    reasons: Any = attributes.get(semconv.FINISH_REASONS) or []
    cost = attributes.get(semconv.COST_USD)
    counts_as_first = attributes.get(semconv.API_TYPE) != "responses" or semconv.TIME_TO_FIRST_TEXT in attributes
    return {
        "operation": attributes.get(semconv.OPERATION),
        "provider": attributes.get(semconv.PROVIDER),
        "request_model": attributes.get(semconv.REQUEST_MODEL),
        "response_model": attributes.get(semconv.RESPONSE_MODEL),
        "stream": attributes.get(semconv.STREAM) is True,
        "finish_reason": reasons[0] if reasons else None,
        **{fact: attributes.get(key) or None for fact, key in TOKENS.items()},
        "cost_usd": None if cost is None else f"{cost:.12f}".rstrip("0"),
        "cost_status": attributes.get(semconv.COST_STATUS),
        "first_chunk": attributes.get(semconv.TIME_TO_FIRST_CHUNK) if counts_as_first else None,
        "fine": span.status != "error" and semconv.STREAM_INCOMPLETE not in attributes,
    }


def _happened(call: dict[str, Any]) -> dict[str, Any]:
    """The same of a call of the truth. Usage that was not sent is unknown; embeddings have no tokens but input."""
    usage = (call["usage"] or {}) if call["usage_sent"] else {}
    return {
        **{fact: call[fact] for fact in ("operation", "request_model", "response_model", "stream", "finish_reason")},
        "provider": "openai",
        **{fact: usage.get(fact) or None for fact in TOKENS},
        "cost_usd": call["cost_usd"],
        "cost_status": call["cost_status"],
        # The first event of the Responses API is no token.
        "first_chunk": call["first_text_s"] if call["api"] == "responses" else call["first_chunk_s"],
        "fine": call["outcome"] == "ok",
    }


def _expected(name: str, fact: str, true: Any) -> Any:
    """What the stack is to show: the truth, or what an exception says."""
    for one in _exceptions(name, fact):
        return one.shown if true is not None else true
    return true


def _exceptions(name: str, fact: str) -> Iterator[Unknowable]:
    return (
        one
        for one in EXCEPTIONS
        if fact in one.facts
        and fnmatch.fnmatchcase(name, one.captures)
        and not any(fnmatch.fnmatchcase(name, pattern) for pattern in one.but)
    )


def test_no_exception_is_stale(calls: dict[str, list[Span]]) -> None:
    """Each exception excuses a difference that some capture really shows."""
    used = set()
    for name in NAMES:
        truth = TRUTH[name]["calls"]
        if len(calls[name]) != len(truth):
            used |= set(_exceptions(name, "calls"))
        for span, call in zip(calls[name], truth * len(calls[name]), strict=False):
            shown, happened = _shown(span), _happened(call)
            for fact in shown:
                if shown[fact] != happened[fact]:
                    used |= set(_exceptions(name, fact))
    assert [one for one in EXCEPTIONS if one not in used] == []
    assert all(one.reason for one in EXCEPTIONS)


@pytest.fixture(scope="module")
def total(captured: LiveStack, calls: dict[str, list[Span]]) -> Callable[[str], float | None]:
    """Sum of a metric over everything that was sent, at the Prometheus port, once all calls are counted there."""
    prometheus = PrometheusClient(captured.endpoints["prometheus"])

    def ask(query: str) -> float | None:
        found = prometheus.instant(f"sum(increase({query}[15m] anchored))")
        return found[0].value if found else None

    everything = sum(map(len, calls.values()))
    deadline = time.monotonic() + 20  # a sample is taken every 15 s, and soon after a reader asked
    while (ask(semconv.LLM_REQUESTS) or 0) < everything and time.monotonic() < deadline:
        time.sleep(0.2)
    assert ask(semconv.LLM_REQUESTS) == everything
    return ask


def _of(calls: dict[str, list[Span]], key: str) -> list[Any]:
    """A fact of all calls, as far as it is known."""
    return [value for spans in calls.values() for span in spans if (value := span.attributes.get(key)) is not None]


def test_calls_are_counted_once(total: Callable[[str], float | None]) -> None:
    """What boards count is the number of calls that happened, and one more for the doubled one."""
    doubled = sum(1 for one in EXCEPTIONS if one.facts == ("calls",))
    assert total(semconv.LLM_REQUESTS) == sum(TRUTH[name]["inference_calls"] for name in NAMES) + doubled


def test_sums_equal_the_spans(total: Callable[[str], float | None], calls: dict[str, list[Span]]) -> None:
    """Tokens by type, cost and its coverage, first tokens, errors and broken streams add up to what the spans say."""
    types = (
        (semconv.LLM_TOKENS, semconv.TOKEN_INPUT, semconv.INPUT_TOKENS),
        (semconv.LLM_TOKENS, semconv.TOKEN_OUTPUT, semconv.OUTPUT_TOKENS),
        (semconv.LLM_TOKEN_DETAILS, semconv.TOKEN_CACHE_READ, semconv.CACHE_READ_TOKENS),
        (semconv.LLM_TOKEN_DETAILS, semconv.TOKEN_CACHE_WRITE, semconv.CACHE_WRITE_TOKENS),
        (semconv.LLM_TOKEN_DETAILS, semconv.TOKEN_REASONING, semconv.REASONING_TOKENS),
    )
    for metric, token_type, key in types:
        assert total(f'{metric}{{{semconv.LABEL_TOKEN_TYPE}="{token_type}"}}') == sum(_of(calls, key))
    assert total(semconv.LLM_COST) == pytest.approx(sum(_of(calls, semconv.COST_USD)), rel=1e-9)
    for status, count in Counter(_of(calls, semconv.COST_STATUS)).items():
        assert total(f'{semconv.LLM_COST_REQUESTS}{{{semconv.LABEL_COST_STATUS}="{status}"}}') == count
    firsts = [_shown(span)["first_chunk"] for spans in calls.values() for span in spans]
    assert total(f"{semconv.LLM_TIME_TO_FIRST_TOKEN}_count") == sum(first is not None for first in firsts)
    for error, count in Counter(_of(calls, semconv.ERROR_TYPE)).items():
        assert total(f'{semconv.LLM_REQUESTS}{{{semconv.LABEL_ERROR}="{error}"}}') == count
    assert total(semconv.LLM_INCOMPLETE_STREAMS) == len(_of(calls, semconv.STREAM_INCOMPLETE)) > 0


def test_evaluations_are_counted_by_verdict(total: Callable[[str], float | None]) -> None:
    """Each evaluation event counts, one that failed without a verdict; log records that repeat a call do not."""
    sent = [one for name in NAMES for one in TRUTH[name].get("evaluations", ())]
    assert total(semconv.LLM_EVALUATIONS) == len(sent)
    for label, count in Counter(one["score_label"] for one in sent if one["score_label"]).items():
        assert total(f'{semconv.LLM_EVALUATIONS}{{{semconv.LABEL_SCORE_LABEL}="{label}"}}') == count


def test_a_broken_stream_is_shown_as_incomplete(captured: LiveStack, tmp_path: Path) -> None:
    """`traces show` says that a stream broke off where its library calls the span fine."""
    (trace,) = _trace_ids("genai-openai-1.3b0/stream_closed")
    shown = run_stackctl("traces", "show", trace, "--data-dir", captured.data_dir, home=tmp_path)
    assert "incomplete: the stream broke off" in shown.stdout
    report = run_stackctl("traces", "show", trace, "--json", "--data-dir", captured.data_dir, home=tmp_path).json()
    assert [(span["status"], span["incomplete"]) for span in report["spans"]] == [("unset", True)]


def test_no_content_is_in_any_file(captured: LiveStack) -> None:
    """No prompt, answer, tool argument or result is in the data directory or a log, though libraries sent them."""
    sent = b"".join(path.read_bytes() for path in CAPTURES.glob("*/*.pb"))
    assert all(canary.encode() in sent for canary in CANARIES)
    assert hits(captured.data_dir, CANARIES) == {}


def test_captured_content_is_in_the_span_store_only(tmp_path: Path) -> None:
    """With --capture-content the prompts are kept, in the span store and nowhere else."""
    for stack in _stack_with_captures(tmp_path, "--capture-content"):
        tempo = TempoClient(stack.endpoints["tempo"])
        row = TRUTH["genai-openai-1.3b0/chat__capture_span_only"]["reported"]["inference_spans"][0]
        found = {s.span_id: s for s in tempo.trace(row["trace_id"]).spans}[row["span_id"]]
        assert "capital of France" in str(found.attributes[semconv.INPUT_MESSAGES])
    places = {path.split("/")[0] for path in hits(tmp_path / "data", CANARIES)}
    assert places == {"spans"}
