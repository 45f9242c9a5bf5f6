"""The openai client with a meter on it: what each call cost in time and tokens, as its caller saw it.

The demo's tally is made of these records alone, so that what the stack shows can be held against it.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import openai

from stackctl.demo.calls import Call


@dataclass
class Reply:
    """What a chat call brought: text, or a tool call as (id, name, arguments in JSON)."""

    text: str = ""
    tool: tuple[str, str, str] | None = None
    response_id: str | None = None


@dataclass
class Ledger:
    """Every call of the run, from all threads."""

    calls: list[Call] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def metered(self, call: Call) -> Iterator[Call]:
        """Time a call, note its error, and enter it whatever happens."""
        started = time.perf_counter()
        try:
            yield call
        except openai.APIError as error:
            call.error = type(error).__name__
            raise
        finally:
            call.seconds = time.perf_counter() - started
            with self._lock:
                self.calls.append(call)


class Models:
    """The two operations the application needs, through the openai client.

    Args:
        client: of any OpenAI-compatible endpoint.
        ledger: where each call is entered.
    """

    def __init__(self, client: openai.OpenAI, ledger: Ledger) -> None:
        self._client, self._ledger = client, ledger

    def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector per text.

        Raises:
            openai.APIError: the endpoint refused or broke off.
        """
        with self._ledger.metered(Call("embeddings", model)) as call:
            response = self._client.embeddings.create(model=model, input=list(texts))
            call.response_model = response.model
            call.received(response.usage)
        return [row.embedding for row in response.data]

    def chat(
        self,
        model: str,
        messages: Sequence[Any],
        tools: Sequence[Any] = (),
        *,
        stream: bool = True,
        ask_usage: bool = True,
    ) -> Reply:
        """Return a model's reply.

        Args:
            ask_usage: streams carry usage only when asked to.

        Raises:
            openai.APIError: the endpoint refused or broke off.
        """
        request: dict[str, Any] = {"model": model, "messages": list(messages)}
        if tools:
            request["tools"] = list(tools)
        with self._ledger.metered(Call("chat", model, streamed=stream)) as call:
            if stream:
                return self._streamed(call, request, ask_usage=ask_usage)
            response = self._client.chat.completions.create(**request)
            call.response_model = response.model
            call.received(response.usage)
            message = response.choices[0].message
            tool = message.tool_calls[0] if message.tool_calls else None
            found = (tool.id, tool.function.name, tool.function.arguments) if tool else None
            return Reply(message.content or "", found, response.id)

    def _streamed(self, call: Call, request: dict[str, Any], *, ask_usage: bool) -> Reply:
        if ask_usage:
            request["stream_options"] = {"include_usage": True}
        started = time.perf_counter()
        reply = Reply()
        for chunk in self._client.chat.completions.create(stream=True, **request):
            reply.response_id, call.response_model = chunk.id, chunk.model
            if chunk.usage is not None:
                call.received(chunk.usage)
            if not chunk.choices:
                continue
            delta = chunk.choices[0].delta
            if call.first_token_seconds is None and (delta.content or delta.tool_calls):
                call.first_token_seconds = time.perf_counter() - started
            reply.text += delta.content or ""
            for piece in delta.tool_calls or ():
                reply.tool = _joined(reply.tool, piece)
        return reply


def _joined(tool: tuple[str, str, str] | None, piece: Any) -> tuple[str, str, str]:
    """Return a tool call with one more piece of it, as streams send them."""
    identifier, name, arguments = tool or ("", "", "")
    function = piece.function
    return (piece.id or identifier, function.name or name, arguments + (function.arguments or ""))
