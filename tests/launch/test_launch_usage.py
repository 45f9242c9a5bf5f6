"""`stackctl run --ask-usage` and the first text of streams: real programs with the real openai client."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from otlp_sink import OtlpSink, ReceivedSpan, otlp_sink
from stream_server import TEXT_SECONDS, StreamServer, stream_server

from stackctl import semconv
from stackctl.launch import Telemetry, environment

# Each way of reading a stream prints what the application saw of it.
APP = """
import asyncio, json, os, sys
import openai

BASE = os.environ["TEST_BASE_URL"]
ASK = dict(model="gpt-4o-mini", messages=[{"role": "user", "content": "Where are they?"}])
client = openai.OpenAI(base_url=BASE, api_key="x")
later = openai.AsyncOpenAI(base_url=BASE, api_key="x")

def plain():
    return [chunk.to_dict() for chunk in client.chat.completions.create(stream=True, **ASK)]

def stepwise():
    stream = client.chat.completions.create(stream=True, **ASK)
    seen = [next(stream).to_dict() for _ in range(5)]
    try:
        next(stream)
    except StopIteration:
        seen.append("end")
    return seen

def within():
    with client.chat.completions.create(stream=True, **ASK) as stream:
        assert isinstance(stream, openai.Stream)
        return [chunk.to_dict() for chunk in stream] + [stream.response.status_code]

def helper():
    with client.chat.completions.stream(**ASK) as stream:
        return [event.type for event in stream] + [stream.get_final_completion().to_dict()]

def raw():
    response = client.chat.completions.with_raw_response.create(stream=True, **ASK)
    return [response.headers["content-type"]] + [chunk.to_dict() for chunk in response.parse()]

def streamed_bytes():
    with client.chat.completions.with_streaming_response.create(stream=True, **ASK) as response:
        return list(response.iter_lines())

def stops_at_the_end():
    seen = []
    for chunk in client.chat.completions.create(stream=True, **ASK):
        seen.append(chunk.to_dict())
        if chunk.choices[0].finish_reason:
            break
    return seen

def two_choices():
    return [chunk.to_dict() for chunk in client.chat.completions.create(stream=True, n=2, **ASK)]

def other_options():
    options = {"include_obfuscation": False}
    return [chunk.to_dict() for chunk in client.chat.completions.create(stream=True, stream_options=options, **ASK)]

def asks_itself():
    options = {"include_usage": True}
    return [chunk.to_dict() for chunk in client.chat.completions.create(stream=True, stream_options=options, **ASK)]

def asks_in_the_body():
    extra = {"stream_options": {"include_usage": True}, "top_k": 3}
    return [chunk.to_dict() for chunk in client.chat.completions.create(stream=True, extra_body=extra, **ASK)]

def other_options_in_the_body():
    extra = {"stream_options": {"include_obfuscation": False}, "top_k": 3}
    options = {"include_usage": False}  # the client sends what is in the body instead
    return [
        chunk.to_dict()
        for chunk in client.chat.completions.create(stream=True, stream_options=options, extra_body=extra, **ASK)
    ]

def refused():
    try:
        return plain()
    except openai.APIStatusError as error:
        return [error.status_code]

def refused_choices():
    try:
        return two_choices()
    except openai.APIStatusError as error:
        return [error.status_code]

async def async_refused():
    try:
        return await async_plain()
    except openai.APIStatusError as error:
        return [error.status_code]

def whole():
    return client.chat.completions.create(**ASK).to_dict()

async def async_plain():
    return [chunk.to_dict() async for chunk in await later.chat.completions.create(stream=True, **ASK)]

async def async_within():
    async with await later.chat.completions.create(stream=True, **ASK) as stream:
        return [chunk.to_dict() async for chunk in stream]

async def async_helper():
    async with later.chat.completions.stream(**ASK) as stream:
        return [event.type async for event in stream] + [(await stream.get_final_completion()).to_dict()]

async def async_raw():
    response = await later.chat.completions.with_raw_response.create(stream=True, **ASK)
    return [chunk.to_dict() async for chunk in response.parse()]

async def async_stops():
    stream, seen = await later.chat.completions.create(stream=True, **ASK), []
    async for chunk in stream:
        seen.append(chunk.to_dict())
        if chunk.choices[0].finish_reason:
            break
    await stream.close()
    return seen

def responses():
    return [event.type for event in client.responses.create(model="gpt-4o-mini", input="?", stream=True)]

def responses_helper():
    with client.responses.stream(model="gpt-4o-mini", input="?") as stream:
        return [event.type for event in stream]

async def async_responses():
    return [event.type async for event in await later.responses.create(model="gpt-4o-mini", input="?", stream=True)]

async def async_responses_helper():
    async with later.responses.stream(model="gpt-4o-mini", input="?") as stream:
        return [event.type async for event in stream]

async def main():
    from opentelemetry import trace
    tracer, seen = trace.get_tracer("app"), {}
    for name in sys.argv[1:]:
        way = globals()[name]
        with tracer.start_as_current_span(name):
            seen[name] = await way() if asyncio.iscoroutinefunction(way) else way()
    print(json.dumps(seen))

asyncio.run(main())
"""
CHAT = (
    *("plain", "stepwise", "within", "helper", "raw", "stops_at_the_end", "two_choices", "other_options"),
    "other_options_in_the_body",
    *("async_plain", "async_within", "async_helper", "async_raw", "async_stops"),
)
ASKING = ("asks_itself", "asks_in_the_body")
RESPONSES = ("responses", "responses_helper", "async_responses", "async_responses_helper")


@dataclass(frozen=True)
class Ran:
    """What a program saw, by the way it read, and the one call's span of each way."""

    seen: dict[str, Any]
    spans: dict[str, ReceivedSpan]
    requests: list[dict[str, Any]]


@pytest.fixture(scope="module")
def server() -> Iterator[StreamServer]:
    with stream_server() as running:
        yield running


def run(directory: Path, server: StreamServer, *ways: str, ask: bool, path: str = "/v1") -> Ran:
    """Run the program as `stackctl run` does and take its telemetry."""
    app = directory / "shop.py"
    app.write_text(APP)
    before = len(server.requests)
    with otlp_sink() as sink:
        base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        telemetry = Telemetry("127.0.0.1:9", sink.url, "shop", ask_usage=ask)
        env = environment(base | {"TEST_BASE_URL": server.url + path}, telemetry, checked=True)
        command = [sys.executable, str(app), *ways]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return Ran(json.loads(done.stdout), _by_way(sink), server.requests[before:])


def _by_way(sink: OtlpSink) -> dict[str, ReceivedSpan]:
    ways = {span.span_id: span.name for span in sink.spans if span.scope == "app"}
    calls = sink.inference()
    found = {ways[span.parent_id]: span for span in calls}
    assert len(found) == len(calls), f"each way is one call, and one span: {sorted(found)}"
    return found


@pytest.fixture(scope="module")
def silent(server: StreamServer, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The program as it is."""
    ways = (*CHAT, "streamed_bytes", *ASKING, "whole", *RESPONSES)
    return run(tmp_path_factory.mktemp("silent"), server, *ways, ask=False)


@pytest.fixture(scope="module")
def asking(server: StreamServer, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The same program under --ask-usage."""
    ways = (*CHAT, "streamed_bytes", *ASKING, "whole", *RESPONSES)
    return run(tmp_path_factory.mktemp("asking"), server, *ways, ask=True)


def test_a_program_sees_what_it_saw_before(silent: Ran, asking: Ran) -> None:
    """However a stream is read, the application gets the same chunks, field for field, with the flag and without."""
    assert asking.seen == silent.seen
    assert [chunk["choices"][0]["finish_reason"] for chunk in silent.seen["plain"]] == [None] * 4 + ["stop"]
    assert [silent.seen[way][-1]["usage"]["total_tokens"] for way in ASKING] == [15, 15]
    assert silent.seen["stepwise"][-1] == "end"


@pytest.mark.parametrize("way", CHAT)
def test_the_span_gets_the_usage(silent: Ran, asking: Ran, way: str) -> None:
    """Each way of reading, one that stops at the last chunk included, leaves the tokens on the call's span."""
    assert "gen_ai.usage.input_tokens" not in silent.spans[way].attributes
    tokens = [asking.spans[way].attributes.get(f"gen_ai.usage.{kind}_tokens") for kind in ("input", "output")]
    assert tokens == [12, 3]


def test_nothing_is_asked_of_programs_that_did_not_choose_it(silent: Ran, asking: Ran) -> None:
    """Without the flag no request changes; with it only streams do, and a program's own options stay."""
    assert [body["stream_options"] for body in silent.requests if "stream_options" in body] == [
        {"include_obfuscation": False},
        {"include_obfuscation": False},
        {"include_usage": True},
        {"include_usage": True},
    ]
    asked = [body for body in asking.requests if "stream_options" in body]
    assert len(asked) == len(CHAT) + len(ASKING)
    both = {"include_obfuscation": False, "include_usage": True}
    assert [body.get("top_k") for body in asked if body["stream_options"] == both] == [None, 3]
    assert len(asking.requests) == len(silent.requests)


def test_a_server_that_refuses_is_asked_once(server: StreamServer, tmp_path: Path) -> None:
    """A 400 that names the field is answered by the same request without it, unseen by program and spans, once."""
    ran = run(tmp_path, server, "plain", "async_plain", "within", ask=True, path="/refuses/v1")
    assert ["stream_options" in body for body in ran.requests] == [True, False, False, False]
    assert [len(ran.seen[way]) for way in ("plain", "async_plain", "within")] == [5, 5, 6]
    assert not any("error.type" in span.attributes for span in ran.spans.values())


@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_a_server_that_refuses_without_a_word_of_it_is_asked_once(
    server: StreamServer, tmp_path: Path, status: int
) -> None:
    """Strict and broken servers do not name the field: the program and its spans see the answer all the same."""
    ran = run(tmp_path, server, "async_plain", "plain", ask=True, path=f"/dumb-{status}/v1")
    assert ["stream_options" in body for body in ran.requests] == [True, False, False]
    assert [len(ran.seen[way]) for way in ("async_plain", "plain")] == [5, 5]
    assert not any("error.type" in span.attributes for span in ran.spans.values())


@pytest.mark.parametrize(("status", "repeated"), [(401, False), (403, False), (429, False), (422, True), (500, True)])
def test_a_refusal_that_has_nothing_to_do_with_it_stays(
    server: StreamServer, tmp_path: Path, status: int, repeated: bool
) -> None:
    """The program gets the error, and a server that wants a key or a pause is not asked a second time."""
    ran = run(tmp_path, server, "refused", "async_refused", ask=True, path=f"/never-{status}/v1")
    assert ran.seen == {"refused": [status], "async_refused": [status]}
    assert ["stream_options" in body for body in ran.requests] == ([True, False] if repeated else [True]) * 2


def test_a_server_that_has_taken_it_is_not_doubted(server: StreamServer, tmp_path: Path) -> None:
    """Once a server has told the usage, a refusal that does not speak of it is about something else."""
    ran = run(tmp_path, server, "plain", "refused_choices", "async_plain", ask=True, path="/single-400/v1")
    assert ran.seen["refused_choices"] == [400]
    assert ["stream_options" in body for body in ran.requests] == [True] * 3


@pytest.mark.parametrize("way", RESPONSES)
def test_the_first_text_of_a_responses_stream_is_stamped(silent: Ran, way: str) -> None:
    """The first event is no text, nor is a thought: the stamp is the time of the first delta of the answer."""
    attributes = silent.spans[way].attributes
    assert TEXT_SECONDS <= attributes[semconv.TIME_TO_FIRST_TEXT] < TEXT_SECONDS + 5
    assert attributes[semconv.TIME_TO_FIRST_CHUNK] < attributes[semconv.TIME_TO_FIRST_TEXT]
    assert attributes["gen_ai.usage.input_tokens"] == 12


@pytest.mark.parametrize("way", ["plain", "helper", "raw", "async_plain"])
def test_the_first_text_of_a_chat_is_stamped(silent: Ran, way: str) -> None:
    """A chat's first chunk names the role only: its first text comes no sooner than that."""
    attributes = silent.spans[way].attributes
    assert attributes[semconv.TIME_TO_FIRST_TEXT] > 0
    assert attributes[semconv.TIME_TO_FIRST_TEXT] + 0.005 >= attributes[semconv.TIME_TO_FIRST_CHUNK]
    assert semconv.TIME_TO_FIRST_TEXT not in silent.spans["whole"].attributes
