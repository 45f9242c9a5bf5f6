"""The simulated endpoint, over HTTP with the real openai client."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import openai
import pytest

from stackctl.demo.conductor import simulator
from stackctl.demo.endpoint import simulated
from stackctl.demo.model import Behaviour
from stackctl.demo.rag import TOOLS

FAST = {"rate_limited": 0, "retried": 0, "server_error": 0, "broken_stream": 0, "slowness": 0.02}
PROMPT = [
    {"role": "system", "content": "Answer from the context."},
    {
        "role": "user",
        "content": "Context:\n[1] Tickets\nA ticket costs 18 euros.\n\nQuestion: What does a ticket cost?",
    },
]


@contextmanager
def client(**behaviour: float) -> Iterator[openai.OpenAI]:
    with simulator(Behaviour(**FAST | behaviour)) as port, simulated(port) as found:
        yield found


@pytest.fixture(scope="module")
def endpoint() -> Iterator[openai.OpenAI]:
    with client(hallucination_rate=0) as found:
        yield found


def test_a_stream_carries_usage_only_when_asked(endpoint):
    """`include_usage` adds one last chunk without choices; without it no chunk has usage."""
    request = {"model": "gpt-4o-mini", "messages": PROMPT, "stream": True}
    silent = list(endpoint.chat.completions.create(**request))
    asked = list(endpoint.chat.completions.create(**request, stream_options={"include_usage": True}))
    assert [chunk.usage for chunk in silent] == [None] * len(silent)
    assert asked[-1].usage.prompt_tokens > 0
    assert asked[-1].choices == []
    text = "".join(chunk.choices[0].delta.content or "" for chunk in silent)
    assert "A ticket costs 18 euros." in text


def test_the_same_request_gets_the_same_answer_and_usage(endpoint):
    """Text and tokens depend on the request alone, streamed or not; ids differ."""
    first, second = (endpoint.chat.completions.create(model="o4-mini", messages=PROMPT) for _ in range(2))
    assert first.choices == second.choices
    assert first.usage == second.usage
    assert first.usage.completion_tokens_details.reasoning_tokens > 0
    assert first.id != second.id
    assert first.model == "o4-mini-2025-04-16"


def test_later_turns_find_their_beginning_in_the_cache(endpoint):
    """Cached are the tokens that an earlier request of the session sent, a part of the input."""
    history = [*PROMPT, {"role": "assistant", "content": "A ticket costs 18 euros. " * 20}]
    later = [*history, {"role": "user", "content": "And for children?"}]
    fresh = endpoint.chat.completions.create(model="gpt-4.1", messages=PROMPT).usage
    usage = endpoint.chat.completions.create(model="gpt-4.1", messages=later).usage
    assert fresh.prompt_tokens_details.cached_tokens == 0
    assert 0 < usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens


def test_a_tool_is_called_once_and_its_result_answers(endpoint):
    """A question that a tool is for gets a tool call first, and an answer from the result then."""
    question = [{"role": "user", "content": "What is the sky forecast for Friday night?"}]
    call = endpoint.chat.completions.create(model="gpt-4.1", messages=question, tools=TOOLS).choices[0].message
    (tool,) = call.tool_calls
    assert (tool.function.name, tool.function.arguments) == ("sky_forecast", '{"night":"Friday"}')
    told = {"role": "tool", "tool_call_id": tool.id, "content": "The sky forecast for Friday says rain."}
    messages = [*question, call, told]
    answer = endpoint.chat.completions.create(model="gpt-4.1", messages=messages, tools=TOOLS).choices[0].message
    assert answer.tool_calls is None
    assert "rain" in answer.content


def test_embeddings_bring_texts_about_the_same_thing_together(endpoint):
    """The nearest document to a question is the one about it, whichever encoding was asked for."""
    texts = ["What do tickets cost?", "A ticket costs 18 euros.", "The mirror was coated again in 2019."]
    packed = endpoint.embeddings.create(model="text-embedding-3-small", input=texts)
    plain = endpoint.embeddings.create(model="text-embedding-3-small", input=texts, encoding_format="float")
    vectors = np.array([row.embedding for row in packed.data])
    assert vectors == pytest.approx(np.array([row.embedding for row in plain.data]), abs=1e-6)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert packed.usage.prompt_tokens > 0


def ask(found: openai.OpenAI) -> str:
    chunks = found.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        ("rate_limited", openai.RateLimitError),
        ("server_error", openai.InternalServerError),
        ("broken_stream", openai.APIConnectionError),
    ],
)
def test_a_planned_failure_reaches_the_client_as_its_own_error(failure, raised):
    """429, 500 and a stream that breaks are what the openai client makes of them, and the endpoint goes on."""
    with client(**{failure: 1.0}) as found:
        for _ in range(2):
            with pytest.raises(raised):
                ask(found)


def test_a_retry_may_fare_better():
    """429 once: the client's own retry succeeds."""
    with client(retried=1.0) as found:
        assert "18 euros" in ask(found)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/v1/nothing", b"{}", 404), ("/v1/chat/completions", b"{", 400), ("/v1/chat/completions", b"{}", 400)],
)
def test_a_bad_request_is_refused_and_the_connection_stays(endpoint, path, body, status):
    """An unknown path or a malformed body gets an error object; the next request on the connection is answered."""
    port = endpoint._client._transport._port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    for _ in range(2):
        connection.request("POST", path, body)
        answer = connection.getresponse()
        assert (answer.status, b'"error"' in answer.read()) == (status, True)
    connection.close()
