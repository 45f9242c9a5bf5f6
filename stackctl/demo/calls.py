"""The record of one call to a model, as its caller saw it; the demo's tally is made of these."""

from dataclasses import dataclass
from typing import Any


@dataclass
class Call:
    """One call to a model, filled in while it runs.

    Attributes:
        operation: `chat` or `embeddings`.
        request_model, response_model: as asked for, as answered; the latter None until an answer came.
        input_tokens ... reasoning_tokens: of the usage that was received; None where none was.
        error: class name of what the client raised; None for a call that ended well.
        first_token_seconds: from the request to the first text or tool call of a stream; None without a stream.
        seconds: the whole call.
    """

    operation: str
    request_model: str
    streamed: bool = False
    response_model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    error: str | None = None
    first_token_seconds: float | None = None
    seconds: float = 0.0

    def received(self, usage: Any) -> None:
        """Take over the usage object of a response."""
        prompt = getattr(usage, "prompt_tokens_details", None)
        completion = getattr(usage, "completion_tokens_details", None)
        self.input_tokens = usage.prompt_tokens
        self.output_tokens = getattr(usage, "completion_tokens", None)
        self.cache_read_tokens = getattr(prompt, "cached_tokens", None)
        self.cache_write_tokens = getattr(prompt, "cache_write_tokens", None)
        self.reasoning_tokens = getattr(completion, "reasoning_tokens", None)
