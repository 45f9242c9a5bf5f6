"""What the demo's application adds to OpenTelemetry: whose a span is, and which one gave the answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import baggage, context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor
from opentelemetry.trace import SpanContext

from stackctl import semconv

_last: ContextVar[SpanContext | None] = ContextVar("stackctl_demo_last_inference", default=None)


class DemoSpans(SpanProcessor):
    """Puts the conversation's ids on every span, and remembers the last chat call of the running thread.

    The openai client does not say in which span a reply came, and the instrumentation knows no user: this is how an
    application of one's own would tell both.
    """

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Copy the ids from baggage; a span can no longer be changed when it ends."""
        for key in (semconv.CONVERSATION_ID, semconv.USER_ID):
            value = baggage.get_baggage(key, parent_context)
            if value is not None:
                span.set_attribute(key, str(value))
        if (span.attributes or {}).get(semconv.OPERATION) == "chat":
            _last.set(span.get_span_context())


@contextmanager
def session_context(conversation_id: str, user_id: str) -> Iterator[None]:
    """Let every span started within belong to a conversation and a user."""
    within = baggage.set_baggage(
        semconv.USER_ID, user_id, baggage.set_baggage(semconv.CONVERSATION_ID, conversation_id)
    )
    token = context.attach(within)
    try:
        yield
    finally:
        context.detach(token)


def last_inference() -> SpanContext | None:
    """Return the span of the last chat call that this thread started."""
    return _last.get()


def install() -> None:
    """Add the processor to the running tracer provider, where there is one of the SDK."""
    provider = trace.get_tracer_provider()
    add = getattr(provider, "add_span_processor", None)
    if add is not None:
        add(DemoSpans())
