"""What costs can be split by, as rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stackctl import semconv
from stackctl.errors import Misuse


@dataclass(frozen=True)
class Dimension:
    """Something that costs can be split by.

    Attributes:
        label: the metrics' label, None where only spans know it.
        attribute: the span's or resource's attribute.
    """

    name: str
    label: str | None
    attribute: str


DIMENSIONS: Final = (
    Dimension("model", semconv.LABEL_REQUEST_MODEL, semconv.REQUEST_MODEL),
    Dimension("response_model", semconv.LABEL_RESPONSE_MODEL, semconv.RESPONSE_MODEL),
    Dimension("provider", semconv.LABEL_PROVIDER, semconv.PROVIDER),
    Dimension("service", semconv.LABEL_SERVICE, semconv.SERVICE_NAME),
    Dimension("environment", semconv.LABEL_ENVIRONMENT, semconv.DEPLOYMENT_ENVIRONMENT),
    Dimension("operation", semconv.LABEL_OPERATION, semconv.OPERATION),
    Dimension("user", None, semconv.USER_ID),
    Dimension("session", None, semconv.SESSION_ID),
    Dimension("conversation", None, semconv.CONVERSATION_ID),
    Dimension("agent", None, semconv.AGENT_NAME),
)


def dimensions(names: Sequence[str]) -> tuple[Dimension, ...]:
    """Return the dimensions of some names.

    Raises:
        Misuse: a name is none; the message lists them.
    """
    known = {dimension.name: dimension for dimension in DIMENSIONS}
    for name in names:
        if name not in known:
            raise Misuse(f"costs cannot be split by {name!r}", next_step=f"use --by with any of: {', '.join(known)}")
    return tuple(known[name] for name in names)


def needs_spans(names: Sequence[str]) -> bool:
    """True when the metrics do not know one of these dimensions. Raises as `dimensions` does."""
    return not all(cut.label for cut in dimensions(names))
