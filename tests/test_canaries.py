"""Canaries in every string field of every capture, through the real ports: none is in any file or log afterwards.

Two kinds of canary, each with a number of its own in each field: a sentence, which may survive nowhere, and a word with
digits as ids look, which may survive only where an identifier belongs (`KEPT`).
"""

import base64
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx2
import orjson
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from stackctl import semconv
from stackctl.embedded.otlp.signals import Signal
from stackctl.embedded.store.writer import SealLimits, SpanStore
from tests.conftest import LiveStack, run_stackctl
from tests.stored import plain, texts

CAPTURES = Path(__file__).parent / "captures"
SENTENCE = "zebra crossing {} is eaten by a grey river horse"
WORD = "zebra{}q7x"
FOUND = {SENTENCE: re.compile(r"zebra_crossing_(\d+)_"), WORD: re.compile(r"zebra(\d+)q7x")}
BASE64 = plain(base64.b64encode(b"zebra crossing ").decode())

# Where a canary that looks like an id may survive, and why: keys of attributes, and the path of another field.
KEPT = {
    "who sent it": ("service.name", "deployment.environment", "deployment.environment.name"),
    "with what": ("telemetry.sdk.version", "telemetry.auto.version"),
    "whom it called": ("server.address",),
    "the model asked for": (
        *(semconv.REQUEST_MODEL, "ai.model.id", "llm.invocation_parameters/model"),
        "embedding.invocation_parameters/model",
    ),
    "the model that answered": (
        *(semconv.RESPONSE_MODEL, "llm.model_name", "embedding.model_name", "langfuse.observation.model.name"),
    ),
    "the provider's id of the answer, and of its configuration": (
        semconv.RESPONSE_ID,
        "output.value/id",
        "openai.response.system_fingerprint",
        "gen_ai.openai.response.system_fingerprint",
    ),
    "the provider's id of a tool's call": ("gen_ai.tool.call.id",),
    "whose conversation": (
        *(semconv.CONVERSATION_ID, semconv.SESSION_ID, "traceloop.association.properties.session_id"),
        "ai.telemetry.metadata.sessionId",
    ),
    "for whom": (
        *(semconv.USER_ID, "llm.user", "gen_ai.user", "gen_ai.request.user", "ai.telemetry.metadata.userId"),
        "traceloop.association.properties.user_id",
    ),
    "a name that code gives a part of itself": (
        *(semconv.AGENT_NAME, semconv.TOOL_NAME, "traceloop.workflow.name", "traceloop.entity.name"),
        *("traceloop.entity.path", "metrics: resource_metrics.scope_metrics.metrics.name"),
    ),
    "what was judged, and how": (semconv.EVALUATION_NAME, semconv.EVALUATION_LABEL),
}

# Attributes by which rules tell a call: while they are kept, everything that follows from them is reached.
DRIVING = {
    *(semconv.OPERATION, semconv.PROVIDER, "gen_ai.system", "llm.request.type", "openinference.span.kind"),
    *("langfuse.observation.type", "ai.operationId", "litellm.call_type", "event.name"),
}
# Fields by which a record is told: mutated in a variant of their own, since nothing behind them is read otherwise.
TELLING = {"Metric.name", "LogRecord.event_name", "InstrumentationScope.name"}


@dataclass
class Canaries:
    """Hands out canaries by number and remembers in which place each was put."""

    form: str
    places: dict[int, str] = field(default_factory=dict)

    def put(self, place: str) -> str:
        """Return the next canary."""
        self.places[1000 + len(self.places)] = place
        return self.form.format(999 + len(self.places))


@dataclass(frozen=True)
class Variant:
    """Which string fields get a canary.

    Attributes:
        values: every value and field but those below.
        driving: the values of attributes by which rules tell a call.
        telling: fields by which a record is told.
        keys: the names of attributes and of members of maps.
        leaves: the texts within values that are JSON.
    """

    values: bool = False
    driving: bool = False
    telling: bool = False
    keys: bool = False
    leaves: bool = False


VARIANTS = (
    Variant(values=True, driving=True),
    Variant(values=True),
    Variant(telling=True),
    Variant(keys=True),
    Variant(leaves=True),
)


# --- mutation ---------------------------------------------------------------------------------------------------------
def poison(message: Message, variant: Variant, put: Callable[[str], str], path: str = "") -> None:
    """Put a canary into every string field of a message and what hangs on it, absent ones included."""
    kind = message.DESCRIPTOR.name
    if isinstance(message, KeyValue):
        _poison_attribute(message, variant, put, path)
        return
    for one in message.DESCRIPTOR.fields:
        place = f"{path}.{one.name}".lstrip(".")
        if one.type == FieldDescriptor.TYPE_MESSAGE:
            for child in _children(message, one, variant):
                poison(child, variant, put, place)
        elif one.type == FieldDescriptor.TYPE_STRING and _wanted(f"{kind}.{one.name}", variant):
            _poison_text(message, one, put(place))


def _wanted(name: str, variant: Variant) -> bool:
    return variant.telling if name in TELLING else variant.values


def _poison_text(message: Message, one: FieldDescriptor, canary: str) -> None:
    if one.is_repeated:
        getattr(message, one.name).append(canary)
    else:
        setattr(message, one.name, canary)


def _children(message: Message, one: FieldDescriptor, variant: Variant) -> Iterator[Message]:
    """What stands in a field of messages, and something new beside it, so that every field is reached."""
    if not one.is_repeated:
        if message.HasField(one.name) or one.name in ("status", "scope", "resource"):
            yield getattr(message, one.name)
        return
    children = getattr(message, one.name)
    if variant.values and one.name in ("events", "links", "exemplars", "entity_refs"):
        extra = children.add()
        if one.name in ("links", "exemplars"):
            extra.trace_id, extra.span_id = b"\1" * 16, b"\2" * 8
    if variant.values and one.message_type.full_name.endswith("common.v1.KeyValue"):
        _add_attributes(children)
    yield from children


def _add_attributes(attributes: Any) -> None:
    """An application's own attribute, content's, and an allowed key's, in each form that a value can have."""
    for key in ("app.note", semconv.INPUT_MESSAGES, "exception.message", "gen_ai.usage.note", semconv.TOOL_NAME):
        attributes.add(key=key, value=AnyValue(string_value="x"))
    for key in ("app.list", "gen_ai.usage.list", semconv.RESPONSE_ID):
        attributes.add(key=key).value.array_value.values.add(string_value="x")
    for key in ("app.map", "gen_ai.usage.map", semconv.AGENT_NAME):
        attributes.add(key=key).value.kvlist_value.values.add(key="inner", value=AnyValue(string_value="x"))
    for key in ("app.raw", "gen_ai.usage.raw", "gen_ai.tool.call.id"):
        attributes.add(key=key, value=AnyValue(bytes_value=b"x"))


def _poison_attribute(attribute: KeyValue, variant: Variant, put: Callable[[str], str], path: str) -> None:
    key = attribute.key
    place = f"{path}[{key}]"
    if variant.driving or key not in DRIVING:
        _poison_value(attribute.value, variant, put, place)
    if variant.keys:
        attribute.key = put(f"{place} (key)")


def _poison_value(value: AnyValue, variant: Variant, put: Callable[[str], str], place: str) -> None:
    match value.WhichOneof("value"):
        case "string_value" if variant.leaves:
            value.string_value = _leaves(value.string_value, put, place) or value.string_value
        case "string_value" if variant.values:
            value.string_value = put(place)
        case "bytes_value" if variant.values:
            value.bytes_value = put(place).encode()
        case "array_value":
            for item in value.array_value.values:
                _poison_value(item, variant, put, place)
        case "kvlist_value":
            for pair in value.kvlist_value.values:
                _poison_value(pair.value, variant, put, place)
                pair.key = put(f"{place} (key)") if variant.keys or variant.driving else pair.key


def _leaves(text: str, put: Callable[[str], str], place: str) -> str | None:
    """The JSON of a text with a canary for each text in it; None where it is no JSON of a list or an object."""

    def changed(value: Any, path: str) -> Any:
        match value:
            case str():
                return put(f"{path}]")
            case list():
                return [changed(item, path) for item in value]
            case dict():
                return {name: changed(item, f"{path}/{name}") for name, item in value.items()}
        return value

    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    path = place.removesuffix("]")
    return orjson.dumps(changed(value, path)).decode() if isinstance(value, list | dict) else None


# --- sending ----------------------------------------------------------------------------------------------------------
def _requests(variant: Variant, put: Callable[[str], str]) -> Iterator[tuple[Signal, Message]]:
    """The captures of a directory as one request a signal, poisoned."""
    for directory in sorted(path for path in CAPTURES.iterdir() if path.is_dir()):
        for signal in Signal:
            request = signal.message("Request")()
            for file in sorted(directory.glob(f"*.{signal.name.lower()}.pb")):
                request.MergeFromString(file.read_bytes())
            if request.ByteSize():
                poison(request, variant, partial(_placed, put, signal))
                yield signal, request


def _placed(put: Callable[[str], str], signal: Signal, place: str) -> str:
    return put(f"{signal.name.lower()}: {place}")


def _send_all(stack: LiveStack, requests: Iterator[tuple[Signal, Message]]) -> None:
    """Send requests, over HTTP and gRPC in turn."""
    headers = {"content-type": "application/x-protobuf"}
    with (
        httpx2.Client(base_url=stack.endpoints["otlp_http"], headers=headers, trust_env=False, timeout=60) as http,
        grpc.insecure_channel(stack.endpoints["otlp_grpc"], [("grpc.enable_http_proxy", 0)]) as channel,
    ):
        for number, (signal, request) in enumerate(requests):
            body = request.SerializeToString()
            if number % 2:
                response = http.post(signal.path, content=body)
                assert response.status_code == 200, response.content
                answer = response.content
            else:
                answer = channel.unary_unary(f"/{signal.service}/Export")(body)
            assert not _canaries_in(plain(answer.decode("latin-1"))), "the answer repeats what was sent"


def _send_nonsense(stack: LiveStack, put: Callable[[str], str]) -> None:
    """Requests that mean nothing, each with a canary in all that a log line could repeat."""
    types = ("application/x-protobuf", "application/json", "text/plain")
    with httpx2.Client(trust_env=False, timeout=60) as http:
        for signal in Signal:
            for media in types:
                body = orjson.dumps({"resourceSpans": [{"resource": put("refused: member")}], put("refused: key"): 1})
                headers = {"content-type": media, "user-agent": put("refused: user agent")}
                url = f"{stack.endpoints['otlp_http']}{signal.path}"
                assert http.post(url, content=body, headers=headers).status_code < 500
        for endpoint, path, name in (
            ("otlp_http", "/v1/{}", "q"),
            ("prometheus", "/api/v1/query", "query"),
            ("prometheus", "/api/v1/{}", "match[]"),
            ("tempo", "/api/search", "q"),
            ("tempo", "/api/traces/{}", "start"),
        ):
            where = stack.endpoints[endpoint] + path.format(put("refused: path"))
            for text in (
                put("refused: query"),
                f'up{{a="{put("refused: value")}"',
                f'{{ .a = "{put("refused: value")}" ',
            ):
                assert http.get(where, params={name: text}).status_code < 500


def _canaries_in(text: str) -> set[tuple[str, int]]:
    """Form and number of each canary in a plain text; bytes that are canaries stand in base64."""
    found = {(form, int(number)) for form, pattern in FOUND.items() for number in pattern.findall(text)}
    return found | ({(SENTENCE, -1)} if BASE64 in text else set())


@dataclass(frozen=True)
class Poisoned:
    """A stack that was sent every canary, and stopped.

    Attributes:
        survivors: form of a canary to the places whose canary is in some file, with the file.
    """

    places: dict[str, dict[int, str]]
    survivors: dict[str, set[tuple[str, str]]]
    status: str


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Poisoned:
    """Send every capture in every variant, half over HTTP and half over gRPC; stop, seal, and look."""
    home = tmp_path_factory.mktemp("canaries")
    data = home / "data"
    up = run_stackctl("up", "--runtime", "embedded", "--ports", "auto", "--data-dir", data, "--json", home=home)
    assert up.code == 0, up.stderr
    stack = LiveStack(data, up.json()["endpoints"])
    forms = {SENTENCE: Canaries(SENTENCE), WORD: Canaries(WORD)}
    try:
        for canaries in forms.values():
            _send_all(stack, (one for variant in VARIANTS for one in _requests(variant, canaries.put)))
            _send_nonsense(stack, canaries.put)
        status = run_stackctl("status", "--data-dir", data, home=home).stdout
    finally:
        run_stackctl("down", "--data-dir", data, home=home)
    survivors = _survivors(data)
    _seal(data)
    survivors |= _survivors(data, "*.parquet")
    places = {form: canaries.places for form, canaries in forms.items()}
    return Poisoned(
        places,
        {form: {(places[form].get(n, "bytes"), file) for f, n, file in survivors if f == form} for form in forms},
        status,
    )


def _survivors(data: Path, files: str = "*") -> set[tuple[str, int, str]]:
    """Form and number of each canary that a file holds, and the file."""
    return {(*found, path) for path, text in texts(data, files) for found in _canaries_in(text)}


def _seal(data: Path) -> None:
    """Make segments and blocks of the logs, as a stack does after minutes."""
    now = int(time.time() * 1000)
    store = SpanStore(data, SealLimits(rows=1), clock_ms=lambda: now)
    store.roll_if_due()
    store.seal_closed()
    store.close()
    assert list(data.rglob("*.parquet"))


def test_no_sentence_survives_anywhere(poisoned: Poisoned) -> None:
    """What people write is in no file and no log, whichever field of whichever signal it came in."""
    assert poisoned.survivors[SENTENCE] == set()


def test_ids_survive_where_they_belong_only(poisoned: Poisoned) -> None:
    """A word that looks like an id is left in the fields of `KEPT` and nowhere else, and each of those is needed."""
    left = {_field(place) for place, _ in poisoned.survivors[WORD]}
    kept = {place for places in KEPT.values() for place in places}
    assert left - kept == set()
    assert kept - left == set()


def _field(place: str) -> str:
    """The key of a place that is an attribute's value, else its path."""
    attribute = re.search(r"\[([^\]]*)\]( \(key\))?$", place)
    return attribute[1] + (attribute[2] or "") if attribute else place


def test_every_kind_of_field_had_a_canary(poisoned: Poisoned) -> None:
    """The test reaches what it says it does."""
    reached = {_field(place) for place in poisoned.places[SENTENCE].values()}
    fields = {place.rpartition(".")[2].rpartition(" ")[2] for place in reached}
    assert {"trace_state", "message", "schema_url", "description", "unit", "name", "version", "severity_text"} <= fields
    assert {"app.note", "app.map (key)", semconv.INPUT_MESSAGES, semconv.REQUEST_MODEL} <= reached
    assert {place.partition(":")[0] for place in poisoned.places[WORD].values()} == {
        "traces",
        "metrics",
        "logs",
        "refused",
    }
    paths = " ".join(poisoned.places[SENTENCE].values())
    assert all(part in paths for part in ("events.attributes", "links.attributes", "exemplars.filtered_attributes"))


def test_no_command_repeats_a_sentence(poisoned: Poisoned) -> None:
    """`stackctl status` names what was dropped, never what it held."""
    assert not [found for found in _canaries_in(plain(poisoned.status)) if found[0] == SENTENCE]
