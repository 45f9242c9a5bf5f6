"""An OpenAI-compatible endpoint as a process of its own: chat completions (streamed or not, tools) and embeddings.

`python -m stackctl.demo.simulator --port 0` writes its port as the first line of stdout and serves on loopback until
SIGTERM. It has no model: `stackctl.demo.model` plans each answer from the request alone. HTTP/1.1 with keep-alive, by
asyncio alone, so that the base install can run it.
"""

import argparse
import asyncio
import base64
import signal
import sys
import time
from array import array
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from uuid import uuid4

import orjson

from stackctl.demo.model import Behaviour, Plan, Usage, plan_chat, plan_embeddings
from stackctl.demo.words import embedding, pieces

_BODY_LIMIT = 8 * 1024**2  # bytes
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 413: "Payload Too Large", 429: "Too Many Requests"}
_BROKEN_AFTER = 4  # chunks with text before a broken stream ends


@dataclass(frozen=True)
class Request:
    """One HTTP request, its header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry(self) -> int:
        """How often the openai client has already sent this request."""
        return int(self.headers.get("x-stainless-retry-count", "0"))


class BadRequest(Exception):
    """The client sent something that an endpoint would refuse; answered as status and OpenAI's error object."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


class Connection:
    """Serves the requests of one TCP connection, one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behaviour: Behaviour) -> None:
        self._reader, self._writer, self._behaviour = reader, writer, behaviour

    async def serve(self) -> None:
        """Answer until the client closes, or until a planned break of a stream."""
        try:
            while (request := await self._read()) is not None:
                try:
                    await self._answer(request)
                except BadRequest as refused:
                    await self._send_error(refused.status, refused.kind, refused.message)
                except (orjson.JSONDecodeError, KeyError, TypeError) as malformed:
                    await self._send_error(400, "invalid_request_error", f"malformed request: {malformed}")
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client went away: nothing is owed to it
        finally:
            self._writer.close()

    async def _read(self) -> Request | None:
        """Read one request; None when the client closed between requests."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        length = int(headers.get("content-length", "0"))
        if length > _BODY_LIMIT:
            await self._send_error(413, "invalid_request_error", "the body is larger than 8 MiB")
            return None
        return Request(method, path.partition("?")[0], headers, await self._reader.readexactly(length))

    async def _answer(self, request: Request) -> None:
        if request.path in ("/v1/chat/completions", "/v1/embeddings") and request.method == "POST":
            body: dict[str, Any] = orjson.loads(request.body)
            if request.path == "/v1/embeddings":
                await self._embeddings(body)
            else:
                await self._chat(body, request.retry)
        elif request.path == "/v1/models" and request.method == "GET":
            await self._send_json(200, {"object": "list", "data": []})
        else:
            raise BadRequest(404, "invalid_request_error", f"no such endpoint: {request.method} {request.path}")

    async def _embeddings(self, body: Mapping[str, Any]) -> None:
        texts = [body["input"]] if isinstance(body["input"], str) else list(body["input"])
        plan = plan_embeddings(body, texts, self._behaviour)
        await asyncio.sleep(plan.first_token_seconds)
        if plan.failure:
            await self._fail(plan.failure)
            return
        binary = body.get("encoding_format") == "base64"
        data = [
            {
                "object": "embedding",
                "index": place,
                "embedding": _packed(embedding(text)) if binary else embedding(text),
            }
            for place, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": plan.usage.input, "total_tokens": plan.usage.input}
        await self._send_json(200, {"object": "list", "model": plan.model, "data": data, "usage": usage})

    async def _chat(self, body: Mapping[str, Any], retry: int) -> None:
        plan = plan_chat(body, self._behaviour)
        if plan.failure == "retried" and retry > 0:
            plan = replace(plan, failure=None)
        if plan.failure in ("rate_limited", "retried", "server_error"):
            await asyncio.sleep(0.03)
            await self._fail(plan.failure)
            return
        await asyncio.sleep(plan.first_token_seconds)
        identifier = f"chatcmpl-{uuid4().hex}"
        if body.get("stream"):
            options = body.get("stream_options") or {}
            await self._send_stream(plan, identifier, with_usage=bool(options.get("include_usage")))
            return
        await asyncio.sleep(plan.token_seconds * (plan.usage.output - plan.usage.reasoning))
        await self._send_json(200, _completion(plan, identifier))

    async def _fail(self, failure: str) -> None:
        # openai's client waits as long as this header says before it tries again.
        soon = "retry-after-ms: 40\r\n"
        if failure == "server_error":
            message = "The server had an error while processing your request."
            await self._send_error(500, "server_error", message, soon)
        else:
            message = "Rate limit reached for requests. Please try again later."
            await self._send_error(429, "rate_limit_exceeded", message, soon)

    async def _send_error(self, status: int, kind: str, message: str, headers: str = "") -> None:
        error = {"message": message, "type": kind, "param": None, "code": kind}
        await self._send_json(status, {"error": error}, headers)

    async def _send_json(self, status: int, content: Any, headers: str = "") -> None:
        body = orjson.dumps(content)
        reason = _REASONS.get(status, "Internal Server Error")
        kind = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self._writer.write(f"HTTP/1.1 {status} {reason}\r\n{kind}{headers}\r\n".encode() + body)
        await self._writer.drain()

    async def _send_stream(self, plan: Plan, identifier: str, *, with_usage: bool) -> None:
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self._writer.write(head.encode())
        sent = 0
        async for event in _events(plan, identifier, with_usage=with_usage):
            if plan.failure == "broken_stream" and sent >= _BROKEN_AFTER:
                self._writer.transport.abort()
                raise ConnectionAbortedError("a planned break of this stream")
            line = b"data: " + event + b"\n\n"
            self._writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            await self._writer.drain()
            sent += 1
        self._writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await self._writer.drain()


async def _events(plan: Plan, identifier: str, *, with_usage: bool) -> AsyncIterator[bytes]:
    """Yield the events of a streamed answer at the pace of the model."""

    def event(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return orjson.dumps(_frame(plan, identifier, "chat.completion.chunk") | {"choices": choices})

    yield event({"role": "assistant", "content": ""})
    deltas = _tool_deltas(plan.tool) if plan.tool else [{"content": piece} for piece in pieces(plan.text)]
    pause = plan.token_seconds * (plan.usage.output - plan.usage.reasoning) / max(1, len(deltas))
    due = time.monotonic()
    for place, delta in enumerate(deltas):
        if place:
            due += pause
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        yield event(delta)
    yield event({}, "tool_calls" if plan.tool else "stop")
    if with_usage:
        frame = _frame(plan, identifier, "chat.completion.chunk")
        yield orjson.dumps(frame | {"choices": [], "usage": _usage(plan.usage)})


def _tool_deltas(tool: tuple[str, str]) -> list[dict[str, Any]]:
    """Return the deltas that carry a tool call: its name first, then its arguments in pieces."""
    first = _tool_call((tool[0], ""))
    cut = [tool[1][place : place + 6] for place in range(0, len(tool[1]), 6)]
    rest = [{"index": 0, "function": {"arguments": piece}} for piece in cut]
    return [{"tool_calls": [call]} for call in ({"index": 0, **first}, *rest)]


def _completion(plan: Plan, identifier: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None if plan.tool else plan.text}
    if plan.tool:
        message["tool_calls"] = [_tool_call(plan.tool)]
    choices = [{"index": 0, "message": message, "finish_reason": "tool_calls" if plan.tool else "stop"}]
    return _frame(plan, identifier, "chat.completion") | {"choices": choices, "usage": _usage(plan.usage)}


def _frame(plan: Plan, identifier: str, kind: str) -> dict[str, Any]:
    return {
        "id": identifier,
        "object": kind,
        "created": int(time.time()),
        "model": plan.model,
        "service_tier": "default",
    }


def _tool_call(tool: tuple[str, str]) -> dict[str, Any]:
    # The id goes back into the next request, so it must not differ between two runs of the same seed.
    return {"id": f"call_{tool[0]}", "type": "function", "function": {"name": tool[0], "arguments": tool[1]}}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def _packed(vector: list[float]) -> str:
    """Return a vector as base64 of little-endian float32, which the openai client asks for."""
    values = array("f", vector)
    if sys.byteorder == "big":
        values.byteswap()
    return base64.b64encode(values.tobytes()).decode()


async def serve(port: int, behaviour: Behaviour) -> None:
    """Serve on loopback until SIGTERM or SIGINT.

    Args:
        port: TCP port; 0 takes a free one, which is written to stdout either way.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Connection(reader, writer, behaviour).serve()

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await stop.wait()
    server.close()


def main() -> None:
    """Run the process: `--port`, and one flag per field of `Behaviour`."""
    parser = argparse.ArgumentParser(description="OpenAI-compatible simulator on loopback")
    parser.add_argument("--port", type=int, default=0)
    for field in fields(Behaviour):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    options = vars(parser.parse_args())
    asyncio.run(serve(options.pop("port"), Behaviour(**options)))


if __name__ == "__main__":
    main()
