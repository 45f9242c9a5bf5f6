"""A small OpenAI-compatible server for tests of streams: the same answer each time, byte for byte."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
THOUGHT_SECONDS, TEXT_SECONDS = 0.05, 0.25  # from the first event of a Responses stream to its first thought and text
WORDS = ("Two ", "parcels ", "left.")


@dataclass
class StreamServer:
    """Attributes:
    url: without the path; a path that starts with `/refuses` leads to a server that does not know stream_options, one
        that starts with `/dumb-STATUS` to one that does not say so, `/never-STATUS` to one that refuses everything and
        `/single-STATUS` to one that has one choice only.
    requests: bodies in order of their arrival.
    """

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)


def chat_chunks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    asked = bool((body.get("stream_options") or {}).get("include_usage"))
    frame = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini-2024-07-18"}
    null = {"usage": None} if asked else {}

    def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**frame, "choices": [{"index": index, "delta": delta, "finish_reason": finish}], **null}

    choices = range(body.get("n") or 1)
    for index in choices:
        yield chunk(index, {"role": "assistant", "content": ""})
    for word in WORDS:
        for index in choices:
            yield chunk(index, {"content": word})
    for index in choices:
        yield chunk(index, {}, "stop")
    if asked:
        yield {**frame, "choices": [], "usage": USAGE}


def response_events() -> Iterator[dict[str, Any]]:
    response = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "status": "in_progress",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    part = {"type": "output_text", "text": "", "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    yield {"type": "response.created", "response": response}
    yield {"type": "response.in_progress", "response": response}
    time.sleep(THOUGHT_SECONDS)
    thought = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    yield {"type": "response.reasoning_summary_text.delta", "delta": "Hm.", **thought}
    time.sleep(TEXT_SECONDS - THOUGHT_SECONDS)
    yield {"type": "response.output_item.added", "output_index": 0, "item": item}
    yield {"type": "response.content_part.added", "part": part, **place}
    for word in WORDS:
        yield {"type": "response.output_text.delta", "delta": word, "logprobs": [], **place}
    done = {**item, "status": "completed", "content": [{**part, "text": "".join(WORDS)}]}
    usage = {
        "input_tokens": 12,
        "output_tokens": 3,
        "total_tokens": 15,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    yield {
        "type": "response.completed",
        "response": {**response, "status": "completed", "output": [done], "usage": usage},
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    known: StreamServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.known.requests.append(body)
        way, _, status = self.path.split("/")[1].partition("-")
        if way == "never" or (way == "single" and body.get("n", 1) > 1) or (way == "dumb" and "stream_options" in body):
            self._send(int(status), json.dumps({"error": {"message": f"no: {sorted(body)[0]}"}}).encode())
        elif self.path.startswith("/refuses") and "stream_options" in body:
            message = "Unrecognized request argument supplied: stream_options"
            self._send(400, json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode())
        elif self.path.endswith("/responses"):
            self._stream(dict(event, sequence_number=number) for number, event in enumerate(response_events()))
        elif body.get("stream"):
            self._stream(chat_chunks(body))
        else:
            choices = [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}]
            frame = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18"}
            self._send(200, json.dumps({**frame, "choices": choices, "usage": USAGE}).encode())

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("x-should-retry", "false")  # the openai client's own repetitions are not what is tested
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, events: Iterator[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events:
            named = f"event: {event['type']}\n" if "type" in event else ""
            self._piece(f"{named}data: {json.dumps(event)}\n\n".encode())
        self._piece(b"data: [DONE]\n\n")
        self._piece(b"")

    def _piece(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def stream_server() -> Iterator[StreamServer]:
    """Serve on a free port of loopback."""
    known = StreamServer("")
    handler = type("Handler", (_Handler,), {"known": known})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    known.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
