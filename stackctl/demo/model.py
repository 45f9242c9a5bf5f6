"""What the simulated models do with a request: a plan of text, tokens, times and failures, drawn from it alone.

The draw is seeded by a digest of seed, model and messages, so the same request gets the same plan in every run,
whatever else runs; only a client's own retry (header `x-stainless-retry-count`) may fare better.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Any

import orjson

from stackctl.demo.answers import compose
from stackctl.demo.words import stems, token_count

CACHE_STEP = 64  # tokens: prompt caches match whole blocks
_EMPTY_MESSAGE_TOKENS = 4  # what the chat format adds to each message


@dataclass(frozen=True)
class ModelRow:
    """One simulated model.

    Attributes:
        answers_as: name in the response, as providers answer with a dated snapshot.
        first_token_seconds: range of the time to the first token.
        token_seconds: mean time between output tokens.
        reasoning_tokens: range of hidden tokens before the answer, in steps of 64; (0, 0) for none.
    """

    name: str
    answers_as: str
    first_token_seconds: tuple[float, float]
    token_seconds: float
    reasoning_tokens: tuple[int, int] = (0, 0)


MODELS: Mapping[str, ModelRow] = {
    row.name: row
    for row in (
        ModelRow("gpt-4o-mini", "gpt-4o-mini-2024-07-18", (0.18, 0.42), 0.008),
        ModelRow("gpt-4.1", "gpt-4.1-2025-04-14", (0.28, 0.60), 0.011),
        ModelRow("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", (0.20, 0.45), 0.007),
        ModelRow("o4-mini", "o4-mini-2025-04-16", (0.55, 1.10), 0.007, (64, 320)),
        ModelRow("acme-reasoner-1", "acme-reasoner-1", (0.30, 0.70), 0.010, (64, 192)),
    )
}
EMBEDDING_SECONDS = (0.02, 0.06)


@dataclass(frozen=True)
class Behaviour:
    """How the endpoint behaves, set by the scenario.

    Attributes:
        seed: every draw depends on it.
        hallucination_rate: share of answers with a claim that the passages do not support.
        rate_limited, retried, server_error, broken_stream: shares of requests that answer 429 whatever the client does,
            429 once, 500, and that break in the middle of a stream.
        slowness: factor on every time.
    """

    seed: int = 1
    hallucination_rate: float = 0.15
    rate_limited: float = 0.03
    retried: float = 0.03
    server_error: float = 0.02
    broken_stream: float = 0.03
    slowness: float = 1.0


@dataclass(frozen=True)
class Usage:
    """Tokens of one call; `cache_read` is a part of `input`, `reasoning` a part of `output`."""

    input: int
    output: int = 0
    cache_read: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Plan:
    """What happens to one request.

    Attributes:
        failure: None, `rate_limited`, `retried`, `server_error` or `broken_stream`.
        tool: arguments of a tool call as (tool name, JSON text), None for an answer in text.
        grounded: whether the passages support the answer. The truth: it never reaches the client.
        first_token_seconds, token_seconds: times of the answer.
    """

    model: str
    text: str
    usage: Usage
    failure: str | None
    tool: tuple[str, str] | None
    grounded: bool
    first_token_seconds: float
    token_seconds: float


def dice_for(seed: int, *parts: str) -> Random:
    """Return a random source that depends on nothing but its arguments."""
    digest = blake2b("\x1f".join((str(seed), *parts)).encode(), digest_size=16).digest()
    return Random(int.from_bytes(digest, "big"))


def plan_chat(request: Mapping[str, Any], behaviour: Behaviour) -> Plan:
    """Decide what a chat completion request gets.

    Args:
        request: the JSON body, with `model` and `messages`.
    """
    messages = request["messages"]
    row = MODELS.get(request["model"]) or ModelRow(request["model"], request["model"], (0.2, 0.5), 0.010)
    dice = dice_for(behaviour.seed, row.name, orjson.dumps(messages, option=orjson.OPT_SORT_KEYS).decode())
    failure = _failure(behaviour, dice)
    passages, question = read_prompt(messages)
    tool = wanted_tool(request.get("tools") or (), messages, question)
    grounded = dice.random() >= behaviour.hallucination_rate
    text = "" if tool else compose(question, passages, dice, grounded=grounded)
    low, high = row.reasoning_tokens
    reasoning = 64 * dice.randint(low // 64, high // 64) if high else 0
    visible = token_count(tool[1]) + 8 if tool else token_count(text)
    prompt, cached = _prompt_tokens(messages)
    first = dice.uniform(*row.first_token_seconds) + prompt * 0.00004 + reasoning * 0.0008
    if dice.random() < 0.06:
        first *= 2.2  # now and then a queue, as shared endpoints have
    return Plan(
        model=row.answers_as,
        text=text,
        usage=Usage(prompt, visible + reasoning, cached, reasoning),
        failure=failure,
        tool=tool,
        grounded=grounded,
        first_token_seconds=first * behaviour.slowness,
        token_seconds=row.token_seconds * dice.uniform(0.8, 1.25) * behaviour.slowness,
    )


def plan_embeddings(request: Mapping[str, Any], texts: Sequence[str], behaviour: Behaviour) -> Plan:
    """Decide what an embeddings request gets: batches, as for an index, never fail; single texts may."""
    dice = dice_for(behaviour.seed, request["model"], *texts)
    limited = len(texts) == 1 and dice.random() < behaviour.rate_limited / 2
    return Plan(
        model=request["model"],
        text="",
        usage=Usage(sum(token_count(text) for text in texts)),
        failure="rate_limited" if limited else None,
        tool=None,
        grounded=True,
        first_token_seconds=dice.uniform(*EMBEDDING_SECONDS) * behaviour.slowness,
        token_seconds=0.0,
    )


def read_prompt(messages: Sequence[Mapping[str, Any]]) -> tuple[list[str], str]:
    """Return the passages and the question of a RAG prompt, as a model would find them in its context.

    Passages stand in the last user message between `Context:` and `Question:`; results of tools are passages too.
    """
    user = next((str(message["content"]) for message in reversed(messages) if message["role"] == "user"), "")
    context, _, question = user.rpartition("Question:")
    passages = [part.strip() for part in re.split(r"\n\[\d+\] ", context.partition("Context:")[2]) if part.strip()]
    passages += [str(message["content"]) for message in messages if message["role"] == "tool"]
    return passages, question.strip() or user


def wanted_tool(
    tools: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]], question: str
) -> tuple[str, str] | None:
    """Return the tool call a model would make first: the tool whose description shares most words with the question."""
    if any(message["role"] == "tool" for message in messages):
        return None
    wanted = set(stems(question))
    for tool in tools:
        function = tool["function"]
        if len(wanted.intersection(stems(function["description"]))) >= 2:
            first_parameter = next(iter(function["parameters"]["properties"].items()))
            value = next((v for v in first_parameter[1].get("enum", ()) if v.lower() in question.lower()), "tonight")
            return function["name"], orjson.dumps({first_parameter[0]: value}).decode()
    return None


def _failure(behaviour: Behaviour, dice: Random) -> str | None:
    """Draw at most one failure."""
    drawn = dice.random()
    for name in ("rate_limited", "retried", "server_error", "broken_stream"):
        share: float = getattr(behaviour, name)
        if drawn < share:
            return name
        drawn -= share
    return None


def _prompt_tokens(messages: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Return prompt tokens and how many of them a prompt cache holds.

    Cached is what an earlier request of the session already sent: everything before the last question, in whole blocks,
    once there is an assistant's answer among it.
    """
    counts = [token_count(str(message.get("content") or "")) + _EMPTY_MESSAGE_TOKENS for message in messages]
    answered = max((place for place, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    prefix = sum(counts[: answered + 1])
    return sum(counts), prefix // CACHE_STEP * CACHE_STEP
