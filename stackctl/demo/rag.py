"""The application of the demo: it answers questions about an observatory out of twelve documents.

Chunk, embed, index, retrieve, prompt, stream, call a tool, evaluate: each step is a span of one trace. When a model
fails, the best passage is the answer, so a trace holds every step whatever happens.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openai
import orjson
from opentelemetry import trace
from opentelemetry.trace import SpanContext, SpanKind

from stackctl import semconv
from stackctl.demo.metered import Models, Reply
from stackctl.demo.telemetry import last_inference, session_context
from stackctl.demo.words import sentences, stems
from stackctl.evals import Judge, Result, evaluate

CORPUS = Path(__file__).resolve().parent / "corpus"
DATA_SOURCE = "observatory-handbook"
EMBEDDING_MODEL = "text-embedding-3-small"
_CHUNK_WORDS = 70
_BATCH = 16  # texts in one embeddings call

SYSTEM_PROMPT = (
    "You are the visitors' desk of Halden Ridge Observatory. Answer from the numbered passages of the context and from "
    "the results of tools, in at most three sentences. Say so when they do not hold the answer. Give prices in euros "
    "and times on the 24-hour clock. Do not guess, do not give opinions about other observatories, and answer in the "
    "language of the question."
)
_FORECASTS = {
    "Friday": "The sky forecast for Friday night says 35 percent cloud, no rain and a wind of 4 metres per second.",
    "Saturday": "The sky forecast for Saturday night says 70 percent cloud, showers after 22:00 and a storm.",
}
TOOLS: tuple[dict[str, Any], ...] = (
    {
        "type": "function",
        "function": {
            "name": "sky_forecast",
            "description": "The sky forecast for one night: cloud, rain and wind.",
            "parameters": {
                "type": "object",
                "properties": {"night": {"type": "string", "enum": list(_FORECASTS)}},
                "required": ["night"],
            },
        },
    },
)

_Vectors = npt.NDArray[np.float64]
_tracer = trace.get_tracer("stackctl.demo")


@dataclass
class Session:
    """A visitor's conversation.

    Attributes:
        stream, ask_usage: how the visitor's client calls the model.
        history: the messages so far, without the system prompt.
    """

    conversation_id: str
    user_id: str
    model: str
    stream: bool = True
    ask_usage: bool = True
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """One answered question.

    Attributes:
        degraded: the model failed, and the best passage stands in.
        evaluations: what the judge says about the answer.
    """

    trace_id: str
    text: str
    degraded: bool
    evaluations: tuple[Result, ...]


@dataclass(frozen=True)
class _Generated:
    """An answer's text, the span it came from, and what tools told the model."""

    text: str
    span: SpanContext | None
    response_id: str | None = None
    tool_results: tuple[str, ...] = ()
    degraded: bool = False


class Index:
    """The chunks of the documents and their vectors, built on first use."""

    def __init__(self, models: Models, embedding_model: str) -> None:
        self._models, self._model = models, embedding_model
        self._lock = threading.Lock()
        self._vectors: _Vectors | None = None
        self.chunks = [chunk for path in sorted(CORPUS.glob("*.md")) for chunk in chunked(path.read_text("utf-8"))]

    def search(self, question: str, limit: int) -> list[str]:
        """Return the chunks nearest to a question, the nearest first.

        By words where the embeddings endpoint fails: worse passages are better than none.
        """
        try:
            vectors = self._built()
            scores = vectors @ np.asarray(self._models.embed(self._model, [question])[0])
        except openai.APIError:
            wanted = set(stems(question))
            scores = np.array([float(len(wanted.intersection(stems(chunk)))) for chunk in self.chunks])
        with _tracer.start_as_current_span("search index"):
            return [self.chunks[place] for place in np.argsort(-scores, kind="stable")[:limit]]

    def _built(self) -> _Vectors:
        """Return the vectors of the chunks; the first question has them made, the others wait."""
        with self._lock:
            if self._vectors is None:
                with _tracer.start_as_current_span("build index"):
                    made: list[list[float]] = []
                    for start in range(0, len(self.chunks), _BATCH):
                        made += self._models.embed(self._model, self.chunks[start : start + _BATCH])
                    self._vectors = np.asarray(made)
            return self._vectors


class Application:
    """Answers questions.

    Args:
        models: the metered client.
        passages: how many passages a retrieval returns.
        judge: of the answers; the offline one if None.
        embedding_model: for documents and questions alike.
    """

    def __init__(
        self, models: Models, *, passages: int, judge: Judge | None = None, embedding_model: str = EMBEDDING_MODEL
    ) -> None:
        self._models, self._passages, self._judge = models, passages, judge
        self._index = Index(models, embedding_model)

    def answer(self, session: Session, question: str) -> Answer:
        """Answer one question of a conversation, in a trace of its own."""
        with (
            session_context(session.conversation_id, session.user_id),
            _tracer.start_as_current_span("answer_question", kind=SpanKind.SERVER) as root,
        ):
            passages = self._retrieve(question)
            messages = self._prompt(session, question, passages)
            reply = self._generate(session, messages, passages)
            results = evaluate(
                question,
                reply.text,
                [*passages, *reply.tool_results],
                judge=self._judge,
                answer_span=reply.span,
                response_id=reply.response_id,
            )
            session.history += [messages[-1], {"role": "assistant", "content": reply.text}]
            trace_id = trace.format_trace_id(root.get_span_context().trace_id)
        return Answer(trace_id, reply.text, reply.degraded, results)

    def _retrieve(self, question: str) -> list[str]:
        with _tracer.start_as_current_span(f"retrieval {DATA_SOURCE}", kind=SpanKind.CLIENT) as span:
            span.set_attribute(semconv.OPERATION, semconv.RETRIEVAL_OPERATION)
            span.set_attribute(semconv.DATA_SOURCE_ID, DATA_SOURCE)
            found = self._index.search(question, self._passages)
            span.set_attribute(semconv.RETRIEVED_DOCUMENTS, len(found))
            return found

    def _prompt(self, session: Session, question: str, passages: Sequence[str]) -> list[dict[str, Any]]:
        with _tracer.start_as_current_span("build prompt"):
            numbered = "".join(f"\n[{place}] {passage}\n" for place, passage in enumerate(passages, 1))
            return [
                {"role": "system", "content": SYSTEM_PROMPT},
                *session.history,
                {"role": "user", "content": f"Context:{numbered}\nQuestion: {question}"},
            ]

    def _generate(self, session: Session, messages: list[dict[str, Any]], passages: Sequence[str]) -> _Generated:
        """Ask the model, run the tool it may want, and fall back on the best passage when it fails."""
        results: list[dict[str, Any]] = []
        try:
            reply = self._chat(session, messages, TOOLS)
            if reply.tool is not None:
                results = _run_tool(reply.tool)
                reply = self._chat(session, [*messages, *results])
        except openai.APIError:
            with _tracer.start_as_current_span("answer from passage") as span:
                best = " ".join(sentences(passages[0])[1:3])
                return _Generated(f"In short: {best}", span.get_span_context(), degraded=True)
        told = tuple(str(message["content"]) for message in results if message["role"] == "tool")
        return _Generated(reply.text, last_inference(), reply.response_id, told)

    def _chat(self, session: Session, messages: Sequence[Any], tools: Sequence[Any] = ()) -> Reply:
        return self._models.chat(session.model, messages, tools, stream=session.stream, ask_usage=session.ask_usage)


def _run_tool(tool: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Run a tool call and return the two messages that tell the model about it."""
    identifier, name, arguments = tool
    with _tracer.start_as_current_span(f"execute_tool {name}") as span:
        span.set_attributes({semconv.OPERATION: "execute_tool", semconv.TOOL_NAME: name})
        night = orjson.loads(arguments).get("night", "")
        result = _FORECASTS.get(night, f"There is no sky forecast for {night or 'that night'} yet.")
    call = {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": identifier, "content": result},
    ]


def chunked(document: str) -> list[str]:
    """Cut a document into chunks of whole sentences, each under the document's title."""
    title, *rest = sentences(document)
    chunks: list[list[str]] = [[]]
    for sentence in rest:
        if sum(len(kept.split()) for kept in chunks[-1]) + len(sentence.split()) > _CHUNK_WORDS and chunks[-1]:
            chunks.append([])
        chunks[-1].append(sentence)
    return [f"{title.lstrip('# ')}\n{' '.join(chunk)}" for chunk in chunks]
