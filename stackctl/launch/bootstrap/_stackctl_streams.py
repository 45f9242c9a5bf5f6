"""The openai client's streams under `stackctl run`: when their first text came, and how many tokens they took.

Stands alone beside sitecustomize.py, for Pythons from 3.9 on. Two layers lie around the instrumentation of the client:

    outside   sees events as the application will, stamps the first one with text on the span, and swallows the extra
              chunk that carries the usage, so that the application sees what it saw before;
    inside    (`stackctl run --ask-usage`) asks servers for the usage: _stackctl_asking.py.

Not asked: `with_streaming_response`, whose bytes are the application's own. A usage chunk that a server would have sent
unasked is swallowed like one that it was asked for: one request does not tell them apart.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from contextvars import ContextVar
from importlib import import_module

from opentelemetry import trace
from wrapt import ObjectProxy, wrap_function_wrapper  # what every instrumentation of OpenTelemetry needs anyway

if False:  # for the type checker; costs an application nothing
    from collections.abc import Callable
    from typing import Any

FIRST_TEXT = "stackctl.time_to_first_text"

_OPERATIONS = frozenset(("chat", "text_completion", "generate_content", "embeddings"))
# How a span says, when it starts, that it is one call to a model: attribute and values, None for any value.
_INFERENCE_SIGNS = (
    ("gen_ai.operation.name", _OPERATIONS),
    ("openinference.span.kind", frozenset(("LLM", "EMBEDDING"))),
    ("langfuse.observation.type", frozenset(("generation", "embedding"))),
    ("llm.request.type", None),
)

_CHAT, _RESPONSES = "openai.resources.chat.completions", "openai.resources.responses.responses"
# Module, class, and whether its streams can be asked for usage (the Responses API tells it anyway).
_CLIENTS = (
    (_CHAT, "Completions", True),
    (_CHAT, "AsyncCompletions", True),
    (_RESPONSES, "Responses", False),
    (_RESPONSES, "AsyncResponses", False),
)
_RAW_HEADER = "x-stainless-raw-response"  # how the client marks a call for a response with its headers


def is_inference(span: Any) -> bool:
    """Tell from a span's name and attributes so far whether it is one call to a model."""
    attributes, name = getattr(span, "attributes", None) or {}, getattr(span, "name", "")
    for key, values in _INFERENCE_SIGNS:
        value = attributes.get(key)
        if value is not None:
            return values is None or value in values
    return name.partition(" ")[0] in _OPERATIONS and " " in name


def watch_outside() -> None:
    """Lay the outer layer around the client; the instrumentation must have come before it."""
    wrap_clients(_watch, _watch_async, only_asked=False)


def wrap_clients(plain: Callable[..., Any], coroutine: Callable[..., Any], *, only_asked: bool) -> None:
    """Lay functions around the client's ways to create an answer, or only around those that can be asked for usage."""
    for module, name, asked in _CLIENTS:
        if (asked or not only_asked) and hasattr(import_module(module), name):
            wrap_function_wrapper(module, f"{name}.create", coroutine if name.startswith("Async") else plain)


class Call:
    """One streamed call under way: its spans, and what of its stream is not the application's."""

    def __init__(self) -> None:
        self.asked = False
        self.spans: list[Any] = []
        self._unfinished: set[int] = set()
        self._finished = False

    def passes(self, event: Any) -> bool:
        """Look at an event on its way to the application; False for the one that it must not see."""
        if self.spans and _has_text(event):
            self._stamp()
        return not self.asked or not self._is_extra(event)

    def ends_with(self, event: Any) -> bool:
        """Tell whether the last choice ended with this event, after which only the usage can follow."""
        for choice in getattr(event, "choices", None) or ():
            self._unfinished.add(choice.index)
            if choice.finish_reason:
                self._unfinished.discard(choice.index)
                self._finished = True
        return self.asked and self._finished and not self._unfinished

    def _stamp(self) -> None:
        now = time.time_ns()
        for span in self.spans:
            if span.is_recording() and FIRST_TEXT not in (span.attributes or {}):
                span.set_attribute(FIRST_TEXT, max(0, now - span.start_time) / 1e9)
        self.spans = []

    @staticmethod
    def _is_extra(event: Any) -> bool:
        choices = getattr(event, "choices", None)
        if choices is None:
            return False
        if getattr(event, "usage", None) is None:
            # Whoever asks for usage gets `"usage": null` on every other chunk.
            getattr(event, "model_fields_set", set()).discard("usage")
            return False
        return not choices


under_way: ContextVar[Call | None] = ContextVar("stackctl_call", default=None)


def opened(span: Any) -> None:
    """Take notice of an inference span that starts while a call begins."""
    call = under_way.get()
    if call is not None:
        call.spans.append(span)


def _has_text(event: Any) -> bool:
    """Tell whether an event brings the application something of the answer, not of the thoughts before it."""
    kind = getattr(event, "type", None)
    if isinstance(kind, str):
        return kind.endswith(".delta") and not kind.startswith("response.reasoning")
    deltas = (getattr(choice, "delta", None) for choice in getattr(event, "choices", None) or ())
    parts = ("content", "tool_calls", "refusal", "function_call")
    return any(getattr(delta, part, None) for delta in deltas for part in parts)


# --- outside the instrumentation --------------------------------------------------------------------------------------
def _watches(kwargs: Mapping[str, Any]) -> bool:
    """Tell whether a call's events pass through here: streams, but those whose bytes the application reads itself."""
    headers = kwargs.get("extra_headers")
    raw = {str(name).lower(): value for name, value in headers.items()} if isinstance(headers, dict) else {}
    return kwargs.get("stream") is True and raw.get(_RAW_HEADER) != "stream"


def _begin() -> Call:
    """Return the call that begins, with the span in which it does where that is the call's own or a framework's."""
    call, around = Call(), trace.get_current_span()
    if around.is_recording() and is_inference(around):
        call.spans.append(around)
    return call


def _watch(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
    if not _watches(kwargs):
        return wrapped(*args, **kwargs)
    call = _begin()
    token = under_way.set(call)
    try:
        result = wrapped(*args, **kwargs)
    finally:
        under_way.reset(token)
    return _proxied(result, _Stream, call)


async def _watch_async(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
    if not _watches(kwargs):
        return await wrapped(*args, **kwargs)
    call = _begin()
    token = under_way.set(call)
    try:
        result = await wrapped(*args, **kwargs)
    finally:
        under_way.reset(token)
    return _proxied(result, _AsyncStream, call)


def _proxied(result: Any, stream_type: type[Any], call: Call) -> Any:
    """Return what the application gets in place of a stream, or of a raw response that will give one.

    Args:
        stream_type: told by the client and not by the stream: some instrumentations' streams are both kinds at once.
    """
    if hasattr(result, "parse") and hasattr(result, "http_response"):
        return _RawResponse(result, lambda stream: _proxied(stream, stream_type, call))
    steps = "__aiter__" if stream_type is _AsyncStream else "__iter__"
    if not hasattr(result, steps):
        return result
    proxy = stream_type(result, call)
    if hasattr(result, "parse"):  # openai-v2 gives the stream itself for a raw response, which parses to itself
        result.parse = lambda *_args, **_kwargs: proxy
    return proxy


class _Held:
    """What was read ahead of the application: events, or the error that ended the reading."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._events: list[Any] = []
        self._error: BaseException | None = None

    def holds(self) -> bool:
        return bool(self._events) or self._error is not None

    def take(self) -> Any:
        if self._events:
            return self._events.pop(0)
        error, self._error = self._error, None
        assert error is not None, "asked only where something is held"
        raise error

    def keep(self, event: Any) -> bool:
        """Keep an event that is the application's; True for the extra one, after which reading goes on."""
        if not self.call.passes(event):
            return True
        self._events.append(event)
        return False

    def keep_error(self, error: BaseException) -> None:
        self._error = error


class _Stream(ObjectProxy):  # type: ignore[type-arg]
    """A stream as the application sees it.

    Behind the last choice's last chunk it reads ahead to the end: an application that stops reading there, as many do,
    would leave the usage unread.
    """

    def __init__(self, stream: Any, call: Call) -> None:
        super().__init__(stream)
        self._self_held = _Held(call)
        self._self_iterator: Any = None

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        held = self._self_held
        if held.holds():
            return held.take()
        if self._self_iterator is None:
            self._self_iterator = iter(self.__wrapped__)
        event = next(self._self_iterator)
        while not held.call.passes(event):
            event = next(self._self_iterator)
        if held.call.ends_with(event):
            try:
                while held.keep(next(self._self_iterator)):
                    pass
            except StopIteration:
                pass  # the application's next step finds the same end
            except BaseException as error:  # noqa: BLE001 - it is the application's, at its next step
                held.keep_error(error)
        return event

    def __enter__(self) -> Any:
        self.__wrapped__.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self.__wrapped__.__exit__(*error)


class _AsyncStream(ObjectProxy):  # type: ignore[type-arg]
    """The same of an asynchronous stream."""

    def __init__(self, stream: Any, call: Call) -> None:
        super().__init__(stream)
        self._self_held = _Held(call)
        self._self_iterator: Any = None

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        held = self._self_held
        if held.holds():
            return held.take()
        if self._self_iterator is None:
            self._self_iterator = self.__wrapped__.__aiter__()
        event = await self._self_iterator.__anext__()
        while not held.call.passes(event):
            event = await self._self_iterator.__anext__()
        if held.call.ends_with(event):
            try:
                while held.keep(await self._self_iterator.__anext__()):
                    pass
            except StopAsyncIteration:
                pass  # as above
            except Exception as error:  # noqa: BLE001 - as above; a cancellation is the task's, at once
                held.keep_error(error)
        return event

    async def __aenter__(self) -> Any:
        await self.__wrapped__.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        return await self.__wrapped__.__aexit__(*error)


class _RawResponse(ObjectProxy):  # type: ignore[type-arg]
    """A response with its headers, whose `parse()` gives the stream."""

    def __init__(self, response: Any, proxied: Callable[[Any], Any]) -> None:
        super().__init__(response)
        self._self_proxied = proxied
        self._self_known: tuple[Any, Any] | None = None

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        """Return the stream, the same one each time."""
        parsed = self.__wrapped__.parse(*args, **kwargs)
        return self._awaited(parsed) if inspect.isawaitable(parsed) else self._once(parsed)

    async def _awaited(self, pending: Any) -> Any:
        return self._once(await pending)

    def _once(self, parsed: Any) -> Any:
        if self._self_known is None or self._self_known[0] is not parsed:
            self._self_known = (parsed, self._self_proxied(parsed))
        return self._self_known[1]
