"""What may be stored: keys, value forms, masks and caps. Fail-closed, the same for spans, evaluations and metrics.

By default no prompt, completion, tool argument, document, query text, embedding or exception text reaches a store.
The order is a deny list of keys, then an allow list (the conventions' keys that hold no free text), then the form
that an allowed key's text must have, then masks for secrets. Even an allowed key's text must look like an
identifier: what an application puts where a name belongs is masked when it is prose. `capture_content` lets the
denied keys through; forms and masks stay.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from stackctl import semconv
from stackctl.genai.derived import DERIVED_TYPES
from stackctl.genai.dialects import DIALECTS
from stackctl.genai.rows import KEY_TYPES
from stackctl.remembering import remembers

MASKED: Final = "[masked]"
UNNAMED: Final = "unnamed"
OTHER: Final = "other"

# Allowed text is cut to this many characters; captured content to the second figure, its true length kept beside it.
TEXT_CAP: Final = 1024
CONTENT_CAP: Final = 65_536


# Letters of scripts that put blanks between words; and of those that do not, in which a sentence looks like a word.
_JOINTS: Final = r"\pM\pN._:/@+=#()|-"
_SPACED: Final = rf"[\p{{Latin}}\p{{Greek}}\p{{Cyrillic}}\p{{Hebrew}}\p{{Arabic}}\p{{Devanagari}}\p{{Hangul}}{_JOINTS}]"
UNSPACED: Final = rf"^[\p{{Han}}\p{{Hiragana}}\p{{Katakana}}\p{{Thai}}A-Za-z{_JOINTS}]+$"
UNSPACED_CAP: Final = 8  # characters of a name or id in such a script


class Form(enum.Enum):
    """What the text of an allowed key must look like, as an anchored RE2 pattern; text of another form is masked.

    Lengths are bounded apart (`FORM_CAPS`): RE2 unrolls counted repetitions, and these classes are large.
    """

    # An identifier: no white space, so no sentence.
    WORD = r"^[A-Za-z0-9._:/@+=#-]*$"
    MODEL = r"^[A-Za-z0-9._:/@+-]+$"
    # A host or a URL: an identifier, or an IPv6 address, in brackets before a port (RFC 3986, 3.2.2), with a zone.
    ADDRESS = (
        r"^([A-Za-z0-9._:/@+=#-]*|([a-z+]+://)?\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\](:[0-9]+)?(/[A-Za-z0-9._/-]*)?|"
        r"[0-9A-Fa-f:.]+%[A-Za-z0-9._-]+)$"
    )
    # A word that code gives, such as an operation or an error's class: letters, a number at most at the end of a part.
    CLASS = r"^([A-Za-z_]+[0-9]{0,5}([._:$/-]{1,2}[A-Za-z][A-Za-z_]*[0-9]{0,5})*|[0-9]{3}|)$"
    # An identifier in any language.
    ID = rf"^{_SPACED}*$"
    # A proper name that people choose: at most four words.
    NAME = rf"^{_SPACED}+( {_SPACED}+){{0,3}}$"
    # A route or template, which is an application's code and not its input.
    ROUTE = r"^[A-Za-z0-9._:/@+=#{}<>*()-]*$"
    # JSON text of a list of identifiers, such as finish reasons.
    WORDS = r'^\[("[A-Za-z_.:-]+[0-9]{0,2}"(, ?)?)*\]$'
    # An application's own key, allowed by its user: any text, masked and cut.
    TEXT = r"(?s)^.*$"


# Characters that a text of the form may have; of the other forms as many as are stored.
FORM_CAPS: Final[Mapping[Form, int]] = {
    Form.WORD: 256,
    Form.ADDRESS: 256,
    Form.MODEL: 128,
    Form.CLASS: 128,
    Form.ID: 256,
    Form.NAME: 128,
    Form.ROUTE: 256,
    Form.WORDS: TEXT_CAP,
}


@dataclass(frozen=True)
class Secret:
    """A kind of secret in a text, as an RE2 pattern, and what stands in its place."""

    pattern: str
    stand_in: str


SECRETS: Final[tuple[Secret, ...]] = (
    Secret(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)", "[key]"),
    Secret(r"\b(sk|pk|rk|xai|gsk|hf|pplx|r8)[-_][A-Za-z0-9_-]{16,}", "[key]"),
    Secret(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b", "[key]"),
    Secret(r"\bAIza[A-Za-z0-9_-]{35}", "[key]"),
    Secret(r"\b(gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-)[A-Za-z0-9_-]{10,}", "[key]"),
    Secret(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?", "[token]"),
    Secret(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", "[token]"),
    Secret(
        r"(?i)\b(password|passwd|secret|api[_-]?key|access[_-]?token)\b[\"']?\s*[=:]\s*[\"']?[^\s\"',;&]{4,}",
        "[secret]",
    ),
    Secret(r"://[^/\s:@]{1,64}:[^/\s@]{1,128}@", "://[secret]@"),
    Secret(r"[A-Za-z0-9._%+-]{1,64}@([A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}\b", "[email]"),
)
# Holds in every text in which one of them holds: a cheap look at much text. Tested against them.
SECRET_LEAD: Final = (
    r"(?i)-----begin|sk[-_]|pk[-_]|rk[-_]|xai[-_]|hf[-_]|pplx[-_]|r8[-_]|akia|asia|aiza|gh[pousr]_|github_pat|glpat|xox|eyj|"
    r"bearer|basic|passw|secret|key|token|://[^/]*:[^/]*@|@[^/]*\."
)

# --- keys -------------------------------------------------------------------------------------------------------------
# A key with one of these words at the end of one of its parts carries content, whoever made it.
_CONTENT_WORDS: Final = (
    r"prompts?|completions?|messages?|input|inputs|output|outputs|content|contents|body|query|question|answer|documents?|"
    r"chunks?|passages?|context|arguments|args|kwargs|parameters|instructions?|system_instructions|embeddings?|vectors?|"
    r"statement|stacktrace|payload|text|explanation|reasoning_content|transcript"
)
CONTENT_KEYS: Final = (
    rf"(.*\.)?([A-Za-z0-9]+_)*({_CONTENT_WORDS})(\..*)?",
    r"exception\.(message|stacktrace)",
    r"http\.(url|target|user_agent)|url\.(full|path|query|fragment|original)|user_agent\.original",
    r"http\.(request|response)\.(header|body\.content).*",
    r"(db|rpc|messaging|graphql)\.(statement|query\.text|document|body|request|response)(\..*)?",
    r"process\.(command|command_line|command_args|environment_variable.*)",
    *(pattern for dialect in DIALECTS for pattern in dialect.content),
)
ODD_KEY: Final = r"[^A-Za-z0-9_.\-/]"

_GEN_AI_KEYS: Final = (
    *("operation.name", "provider.name", "system", "output.type", "conversation.id", "conversation.compacted"),
    *("request.model", "request.max_tokens", "request.temperature", "request.top_p", "request.top_k", "request.seed"),
    *("request.frequency_penalty", "request.presence_penalty", "request.choice.count", "request.stream"),
    *("request.encoding_formats", "request.reasoning.level", "request.previous_response.id"),
    *("response.id", "response.model", "response.finish_reasons", "response.status", "response.time_to_first_chunk"),
    *("agent.id", "agent.name", "agent.version", "tool.name", "tool.type", "tool.call.id", "workflow.name"),
    *("data_source.id", "retrieval.top_k", "embeddings.dimension.count", "token.type", "prompt.name", "prompt.version"),
    *("memory.store.id", "memory.record.id", "evaluation.name", "evaluation.score.value", "evaluation.score.label"),
)
KEYS: Final[frozenset[str]] = frozenset(
    {
        *(f"gen_ai.{key}" for key in _GEN_AI_KEYS),
        *(semconv.API_TYPE, semconv.REQUEST_TIER, semconv.RESPONSE_TIER),
        "openai.response.system_fingerprint",
        *("telemetry.sdk.name", "telemetry.sdk.language", "telemetry.sdk.version", "telemetry.auto.version"),
        *("telemetry.distro.name", "telemetry.distro.version"),
        *(
            "error.type",
            "exception.type",
            "exception.escaped",
            "user.id",
            "enduser.id",
            "session.id",
            "session.previous_id",
        ),
        *(
            "server.address",
            "server.port",
            "client.address",
            "client.port",
            "peer.service",
            "url.scheme",
            "url.template",
        ),
        *("http.method", "http.status_code", "http.route", "http.scheme", "http.flavor", "http.request.method"),
        *(
            "http.response.status_code",
            "http.request.resend_count",
            "http.request.body.size",
            "http.response.body.size",
        ),
        *(
            "network.transport",
            "network.type",
            "network.protocol.name",
            "network.protocol.version",
            "network.peer.port",
        ),
        *("network.peer.address", "net.peer.name", "net.peer.port", "net.host.name", "net.host.port"),
        *("rpc.system", "rpc.service", "rpc.method", "rpc.grpc.status_code", "rpc.response.status_code"),
        *("db.system", "db.system.name", "db.name", "db.namespace", "db.operation", "db.operation.name"),
        *("db.collection.name", "db.response.status_code", "db.response.returned_rows", "db.operation.batch.size"),
        *("messaging.system", "messaging.operation.name", "messaging.operation.type", "messaging.destination.name"),
        *(
            "mcp.method.name",
            "mcp.protocol.version",
            "mcp.session.id",
            "jsonrpc.request.id",
            "jsonrpc.protocol.version",
        ),
        *("service.name", "service.namespace", "service.version", "service.instance.id", "service.criticality"),
        *("deployment.environment", "deployment.environment.name", "deployment.id", "deployment.name"),
        *("host.name", "host.id", "host.arch", "host.type", "os.type", "os.name", "os.version"),
        *("process.pid", "process.parent_pid", "process.executable.name", "process.runtime.name"),
        *("process.runtime.version", "thread.id", "thread.name", "code.function", "code.function.name"),
        *("code.namespace", "code.lineno", "code.line.number"),
        *(key for dialect in DIALECTS for key in dialect.verbatim),
        *KEY_TYPES,
        *DERIVED_TYPES,
    }
)
# Families of keys whose members are many and new ones harmless: at most four parts of letters. What `otel` says of a
# status is its message.
USAGE: Final = r"gen_ai\.(usage|aggregated_usage)(\.[a-z_]{1,32}){1,4}"
_PLATFORM: Final = r"(k8s|container|cloud|faas)(\.[a-z_]{1,32}){1,3}"
FAMILIES: Final = rf"{USAGE}|{_PLATFORM}|otel\.(status_code|(scope|library)\.(name|version))"

# Keys whose values code or the conventions choose.
_CLASSES: Final = (
    *(semconv.OPERATION, semconv.PROVIDER, semconv.API_TYPE, semconv.ERROR_TYPE, semconv.COST_STATUS),
    *("gen_ai.system", "gen_ai.output.type", "gen_ai.tool.type", "gen_ai.token.type", "gen_ai.response.status"),
    *("gen_ai.request.reasoning.level", semconv.REQUEST_TIER, semconv.RESPONSE_TIER),
    *("exception.type", "url.scheme", "http.scheme", "http.method", "http.request.method"),
    *("network.transport", "network.type", "network.protocol.name", "rpc.system", "db.system", "db.system.name"),
    *("db.operation", "db.operation.name", "messaging.system", "messaging.operation.name", "messaging.operation.type"),
    *("mcp.method.name", "telemetry.sdk.name", "telemetry.sdk.language", "telemetry.distro.name"),
    *("host.arch", "os.type", "process.runtime.name", "gen_ai.openai.response.service_tier", "traceloop.span.kind"),
)
# Allowed keys whose text is not a plain identifier.
FORMS: Final[Mapping[str, Form]] = {
    **dict.fromkeys(_CLASSES, Form.CLASS),
    semconv.REQUEST_MODEL: Form.MODEL,
    semconv.RESPONSE_MODEL: Form.MODEL,
    **dict.fromkeys((semconv.SERVER_ADDRESS, "client.address", "network.peer.address"), Form.ADDRESS),
    semconv.FINISH_REASONS: Form.WORDS,
    "gen_ai.request.encoding_formats": Form.WORDS,
    semconv.SERVICE_NAME: Form.NAME,
    semconv.SERVICE_NAMESPACE: Form.NAME,
    semconv.DEPLOYMENT_ENVIRONMENT: Form.NAME,
    semconv.AGENT_NAME: Form.NAME,
    semconv.TOOL_NAME: Form.ID,
    semconv.DATA_SOURCE_ID: Form.NAME,
    semconv.USER_ID: Form.ID,
    "enduser.id": Form.ID,
    semconv.SESSION_ID: Form.ID,
    semconv.CONVERSATION_ID: Form.ID,
    semconv.EVALUATION_NAME: Form.NAME,
    semconv.EVALUATION_LABEL: Form.NAME,
    "gen_ai.workflow.name": Form.NAME,
    "gen_ai.prompt.name": Form.NAME,
    "http.route": Form.ROUTE,
    "url.template": Form.ROUTE,
    "thread.name": Form.NAME,
    "os.version": Form.NAME,
    "process.runtime.version": Form.NAME,
}

# --- names, events, links ---------------------------------------------------------------------------------------------
# What stands behind the operation in the name of a span that has one, the first that it has. Of a call to a model it is
# the model, whichever agent or tool it is of.
NAME_PARTS: Final = (semconv.TOOL_NAME, semconv.AGENT_NAME, semconv.REQUEST_MODEL, semconv.DATA_SOURCE_ID)
CALL_NAME_PART: Final = semconv.REQUEST_MODEL
# A span name from code: up to three words of letters and joints, or one with a small number; no id, no token.
_WORD: Final = r"[A-Za-z_]+([._:/-][A-Za-z_]+)*"
# The same, or a route: its parts are letters, templates or a version.
_WORD_OR_ROUTE: Final = r"([A-Za-z_{]+([._:/{}-]+[A-Za-z_]*)*|(/([A-Za-z_{}.:-]*|v[0-9]{1,2}))+)"
SPAN_NAME: Final = rf"^{_WORD}(( {_WORD_OR_ROUTE}){{0,2}}| [0-9]{{1,3}})$"
SPAN_NAME_CAP: Final = 80
# A package or module: letters, and where it has parts, a small number within one.
SCOPE_NAME: Final = r"^([A-Za-z_]{1,64}|@?[A-Za-z_]+[0-9]{0,2}([./:@-]+[A-Za-z_]*[0-9]{0,2}[A-Za-z_]*){1,16})$"
SCOPE_VERSION: Final = r"^v?[0-9]{1,6}(\.[0-9]{1,6}){0,3}([.+-]?[A-Za-z]{1,8}[.-]?[0-9]{0,6}){0,2}$"
SCOPE_CAP: Final = 128
# An instrument as the specification lets SDKs name it (opentelemetry.io/docs/specs/otel/metrics/api, instrument name
# syntax), other letters and beginnings included, which Prometheus' own receiver takes as well.
METRIC_NAME: Final = r"^[\pL\pN_.:/-]+$"
METRIC_NAME_CAP: Final = 255
# A unit that may become part of a metric's name: UCUM's letters, an exponent, and one such thing per another.
_UNIT: Final = r"(\{[^{}]*\}|[A-Za-z_%]{1,16}[0-9]?(\{[^{}]*\})?|1|)"
METRIC_UNIT: Final = rf"^{_UNIT}(/{_UNIT})?$"

# Event name to the attributes that stay; every other event is dropped. Times of events stay with them.
EVENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "exception": ("exception.type", "exception.escaped"),
    "First Token Stream Event": (),
    "ai.stream.firstChunk": (),
}


@remembers(16_384)
def is_content(key: str) -> bool:
    """Whether attributes of this key carry prompts, answers, documents, queries or other free text."""
    return _key_matches(CONTENT_KEYS, key) and key not in KEYS


@remembers(16_384)
def keep_key(key: str, allow: tuple[str, ...] = (), capture_content: bool = False) -> bool:
    """Whether an attribute of a span, resource, evaluation or metric point may be stored.

    Args:
        key: the attribute's key.
        allow: the user's patterns for an application's own keys, RE2, matched against the whole key.
        capture_content: let keys that carry content through.
    """
    if key in KEYS:
        return True
    if not is_plain_key(key):
        return False
    if is_content(key):
        return capture_content
    return _key_matches((FAMILIES, *allow), key)


@remembers(16_384)
def form_of(key: str) -> Form:
    """Return the form that the text of a kept key must have."""
    if key in FORMS:
        return FORMS[key]
    if _key_matches((USAGE,), key):
        return Form.CLASS
    return Form.WORD if key in KEYS or _key_matches((FAMILIES,), key) else Form.TEXT


def mask(text: str) -> str:
    """Return the text with secrets (keys, tokens, passwords, mail addresses) replaced."""
    if not _compiled(SECRET_LEAD).search(text):
        return text
    for secret in SECRETS:
        text = _compiled(secret.pattern).sub(secret.stand_in, text)
    return text


def cap_of(key: str) -> int:
    """Return how many characters of a kept key's text are stored."""
    return CONTENT_CAP if is_content(key) else TEXT_CAP


@remembers(16_384)
def clean(key: str, text: str) -> str:
    """Return what may be stored of a kept key's text: in its form, without secrets, capped."""
    form = form_of(key)
    if form is Form.TEXT:
        return mask(text[: cap_of(key)])
    return mask(text) if _fits(form, text) else MASKED


def _fits(form: Form, text: str) -> bool:
    if len(text) <= FORM_CAPS[form] and _compiled(form.value).search(text):
        return True
    unspaced = form in (Form.ID, Form.NAME) and len(text) <= UNSPACED_CAP
    return unspaced and _compiled(UNSPACED).search(text) is not None


@remembers(4096)
def span_name(text: str) -> str:
    """Return a span's name if it looks like one that code gives; else `unnamed`."""
    return mask(text) if len(text) <= SPAN_NAME_CAP and _compiled(SPAN_NAME).search(text) else UNNAMED


@remembers(1024)
def scope_name(text: str) -> str | None:
    """Return an instrumentation scope's name if it looks like a package or module; else nothing."""
    return text if len(text) <= SCOPE_CAP and _compiled(SCOPE_NAME).search(text) else None


@remembers(1024)
def scope_version(text: str) -> str | None:
    """Return a scope's version if it looks like one; else nothing."""
    return text if _compiled(SCOPE_VERSION).search(text) else None


@remembers(4096)
def metric_name(text: str) -> str | None:
    """Return the name of an application's metric if it looks like one that code gives; else nothing."""
    return text if len(text) <= METRIC_NAME_CAP and _compiled(METRIC_NAME).search(text) else None


@remembers(4096)
def metric_unit(text: str) -> str:
    """Return the unit of an application's metric if it looks like one; else none. Units end up in metric names."""
    return text if _compiled(METRIC_UNIT).search(text) else ""


@remembers(16_384)
def label_word(text: str) -> str:
    """Return a label value that an application chose, if it is short and of few characters; else `other`."""
    return mask(text) if _fits(Form.NAME, text) else OTHER


@remembers(4096)
def is_plain_key(key: str) -> bool:
    """Whether a key's own name may be shown and counted: one that holds no text."""
    return len(key) <= 128 and not _compiled(ODD_KEY).search(key)


def _key_matches(patterns: tuple[str, ...], key: str) -> bool:
    return any(_compiled(f"^(?:{pattern})$").search(key) for pattern in patterns)


@lru_cache(maxsize=2048)
def _compiled(pattern: str) -> Any:
    # Imported here: the base install, which only renders these rows as text, has no RE2.
    import re2

    return re2.compile(pattern)
