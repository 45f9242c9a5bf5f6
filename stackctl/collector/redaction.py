"""Redact as statements: what `stackctl.genai.content` lets through, and nothing else.

Fail-closed. None of these functions can fail on what a sender writes (a mistake of ours that does would be a statement
left out), so each takes everything away first and puts back what has been vetted; the last statement marks the span as
done, and a filter behind drops every span without that mark. Lists and maps are taken apart (`flatten`), so that no
text hides in one.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

from stackctl import semconv
from stackctl.collector.group import Group
from stackctl.collector.ottl import Line, cached, holds, matches, put, span, text
from stackctl.collector.pricing import FOUND_KEY, UNLISTED
from stackctl.genai import content, rows
from stackctl.genai.content import Form
from stackctl.genai.derived import DERIVED_TYPES
from stackctl.genai.rows import Equals, SpanAttr

# Set by the last statement; the branch that stores spans takes it off again.
DONE: Final = "stackctl.redacted"
MARKS: Final = (DONE, *UNLISTED.values())
_FOUND: Final = cached("found")
_CONTENT: Final = rf"^(?:{'|'.join(content.CONTENT_KEYS)})$"
_ODD_KEY: Final = rf"{content.ODD_KEY}|^.{{129}}"
# Keys whose lists are kept as JSON text, since their form is that of a list.
_LISTS: Final = tuple(key for key, form in content.FORMS.items() if form is Form.WORDS and key not in rows.KEY_TYPES)


def groups(allow: Sequence[str] = (), capture: bool = False) -> list[Group]:
    """Return what redacts resources, scopes, events and, last, spans.

    Args:
        allow: the user's patterns for an application's own keys.
        capture: keep keys that carry content; forms and masks stay.
    """
    return [
        resource(allow, capture),
        scope(),
        _events(allow, capture),
        Group(
            "Redact: attributes (genai/content.py).",
            lines=[
                Line(put(_FOUND, span(FOUND_KEY)), "What this pipeline found itself is put back behind."),
                Line(f"delete_key(span.attributes, {text(FOUND_KEY)})"),
                *_list_texts(),
                *attributes("span.attributes", "span.cache", allow, capture),
                *_text_lists(),
                Line(f'merge_maps(span.attributes, {_FOUND}, "upsert") where {_FOUND} != nil'),
            ],
        ),
        _span(capture),
    ]


def resource(allow: Sequence[str] = (), capture: bool = False) -> Group:
    """Return what redacts a resource."""
    lines = [
        *attributes("resource.attributes", "resource.cache", allow, capture),
        Line('set(resource.schema_url, "")'),
    ]
    return Group("Redact: whoever sent it.", lines, "resource")


def scope() -> Group:
    """Return what redacts an instrumentation scope: a package's name and version, nothing else."""
    return Group(
        "Redact: scopes keep a package's name and version.",
        [
            Line('delete_matching_keys(scope.attributes, ".*")'),
            Line(f'set(scope.name, "") where {_unfit("scope.name", content.SCOPE_NAME, content.SCOPE_CAP)}'),
            Line(f'set(scope.version, "") where {_unfit("scope.version", content.SCOPE_VERSION, content.SCOPE_CAP)}'),
            Line('set(scope.schema_url, "")'),
        ],
        "scope",
    )


def _unfit(path: str, pattern: str, cap: int) -> str:
    return f"(not {matches(path, pattern)} or Len({path}) > {cap})"


# --- attributes -------------------------------------------------------------------------------------------------------
def attributes(path: str, cache: str, allow: Sequence[str] = (), capture: bool = False) -> list[Line]:
    """Return the statements that leave of a map what may be stored.

    Args:
        path: the map, such as `span.attributes`.
        cache: the cache of the same context.
    """
    own = f'{cache}["own"]'
    usage, platform, special = f'{cache}["usage"]', f'{cache}["platform"]', f'{cache}["special"]'
    exact = _keys(sorted(content.KEYS))
    lines = [
        Line(f"set({platform}, {path})", "Families of keys (FAMILIES), but no content among them."),
        Line(f"keep_matching_keys({platform}, {text(_FAMILY_LEAD)})"),
        Line(f"keep_matching_keys({platform}, {_whole(content.FAMILIES)})"),
        Line(f"delete_matching_keys({platform}, {text(_CONTENT)})"),
        *_flat(platform, f"keep_matching_keys({platform}, {_whole(content.FAMILIES)})"),
        *_family_without_bytes(platform, f'{cache}["texts"]'),
        Line(f"set({usage}, {platform})"),
        Line(f"keep_matching_keys({usage}, {_whole(content.USAGE)})"),
        Line(f"delete_matching_keys({platform}, {_whole(content.USAGE)})"),
    ]
    if allow:
        lines += _own(path, own, allow)
    if capture:
        lines += _captured(path, f'{cache}["content"]')
    lines += [
        Line(f"keep_keys({path}, {exact})", "Keys that hold no free text (KEYS)."),
        *_flat(path, f"keep_keys({path}, {exact})"),
        Line(f"set({special}, {path})", "Their text in its form: most are plain words, the others by key (FORMS)."),
        Line(f"keep_keys({special}, {_keys(sorted(content.FORMS))})"),
        *_without_bytes(path),
        *(_masked(path, Form.WORD)),
        *(_masked(platform, Form.WORD)),
        *(_masked(usage, Form.WORD)),
        Line(_replaced(usage, _NOT_LETTERS)),
        *(_formed(special, key, form) for key, form in sorted(content.FORMS.items())),
        Line(f'merge_maps({path}, {special}, "upsert")'),
        *(Line(f'merge_maps({path}, {one}, "insert")') for one in (usage, platform)),
    ]
    if allow:
        lines.append(Line(f'merge_maps({path}, {own}, "insert")'))
    if capture:
        lines.append(Line(f'merge_maps({path}, {cache}["content"], "insert")'))
    return [*lines, *_secrets(path, cache)]


# Holds for every key of a family, and is quickly judged.
_FAMILY_LEAD: Final = r"^(gen_ai\.(usage|aggregated_usage)|k8s|container|cloud|faas|otel)\."
# What Form.CLASS forbids, without its grammar: a family of numbers has no other text worth a closer look.
_NOT_LETTERS: Final = r"(?s)^.*[^A-Za-z_.].*$"


def _whole(pattern: str) -> str:
    return text(f"^(?:{pattern})$")


def _keys(keys: Iterable[str]) -> str:
    return f"[{', '.join(text(key) for key in keys)}]"


def _flat(path: str, keep: str) -> list[Line]:
    """Lists and maps become keys of their own, which nobody knows."""
    return [Line(f"flatten({path})"), Line(keep)]


def _without_bytes(path: str) -> list[Line]:
    """Bytes could hold any text. Canonical keys have their types by now; no function tells bytes in a whole map."""
    lines = [Line("", "No bytes; lists and maps are gone by now.")]
    for key in sorted(content.KEYS - rows.KEY_TYPES.keys() - DERIVED_TYPES.keys()):
        value = f"{path}[{text(key)}]"
        scalar = " or ".join(f"{test}({value})" for test in ("IsString", "IsInt", "IsDouble", "IsBool"))
        lines.append(Line(f"delete_key({path}, {text(key)}) where {value} != nil and not ({scalar})"))
    return lines


def _family_without_bytes(path: str, texts: str) -> list[Line]:
    """Bytes look like text in JSON, but only texts take a mark: a family with a text that has none goes as a whole."""
    where = f"{texts} == true"
    return [
        Line(put(texts, "true", f"Index(String({path}), {text(_TEXT_VALUE)}) >= 0"), "No bytes under any key of them."),
        Line(f"{_replaced(path, '(?s)^(.+)$', '=${1}')} where {where}"),
        Line(f"keep_keys({path}, []) where {where} and {matches(f'String({path})', _NO_MARK)}"),
        Line(f"{_replaced(path, '^=', '')} where {where}"),
    ]


_TEXT_VALUE: Final = '":"'  # as JSON has it between a member's name and a value that is no number
_NO_MARK: Final = f'{_TEXT_VALUE}[^="]'


def _own(path: str, own: str, allow: Sequence[str]) -> list[Line]:
    pattern = "|".join(f"(?:{one})" for one in allow)
    return [
        Line(f"set({own}, {path})", "The application's own keys (content.allow_keys)."),
        Line(f"keep_matching_keys({own}, {_whole(pattern)})"),
        Line(f"delete_matching_keys({own}, {text(_CONTENT)})"),
        Line(f"delete_matching_keys({own}, {text(_ODD_KEY)})"),
        *_flat(own, f"keep_matching_keys({own}, {_whole(pattern)})"),
        Line(f"delete_matching_keys({own}, {text(_CONTENT)})"),
        Line(f"delete_matching_keys({own}, {text(_ODD_KEY)})"),
        Line(f"truncate_all({own}, {content.TEXT_CAP})"),
    ]


def _captured(path: str, into: str) -> list[Line]:
    """Content that is kept is cut, its true length beside it; of keys that only a pattern knows without that."""
    lines = [
        Line(f"set({into}, {path})", "Content is captured: its keys pass."),
        Line(f"keep_matching_keys({into}, {text(_CONTENT)})"),
        Line(f"delete_matching_keys({into}, {text(_ODD_KEY)})"),
    ]
    for key in _CONTENT_CARRIERS:
        value = f"{into}[{text(key)}]"
        length = f"{into}[{text(semconv.CONTENT_LENGTH_PREFIX + key)}]"
        lines.append(Line(put(value, f"String({value})", f"{value} != nil", f"not IsString({value})")))
        lines.append(Line(put(length, f"Len({value})", f"{value} != nil", f"Len({value}) > {content.CONTENT_CAP}")))
    return [*lines, Line(f"flatten({into})"), Line(f"truncate_all({into}, {content.CONTENT_CAP})")]


_CONTENT_CARRIERS: Final = (
    *(semconv.INPUT_MESSAGES, semconv.OUTPUT_MESSAGES, semconv.SYSTEM_INSTRUCTIONS, semconv.TOOL_DEFINITIONS),
    *(semconv.TOOL_ARGUMENTS, semconv.TOOL_RESULT, semconv.RETRIEVAL_QUERY, semconv.RETRIEVAL_DOCUMENTS),
    *("gen_ai.prompt", "gen_ai.completion", "input.value", "output.value", "traceloop.entity.input"),
    *("traceloop.entity.output", "ai.prompt.messages", "ai.prompt", "ai.response.text", "langfuse.observation.input"),
    "langfuse.observation.output",
)


def _list_texts() -> list[Line]:
    """Lists that have a form as JSON text become that; canonical ones are text already."""
    return [Line(put(span(key), f"String({span(key)})", f"IsList({span(key)})")) for key in _LISTS]


def _text_lists() -> list[Line]:
    """And lists again what of them is left."""
    return [
        Line(
            put(
                span(key),
                f"ParseJSON({span(key)})",
                matches(span(key), r"^\["),
                f"{span(key)} != {text(content.MASKED)}",
            )
        )
        for key in _LISTS
    ]


def _masked(path: str, form: Form) -> list[Line]:
    """Every text of a map that has not the form, or is longer, is masked."""
    characters = form.value.removeprefix("^[").removesuffix("]*$")
    return [
        Line(_replaced(path, f"(?s)^.*[^{characters}].*$")),
        Line(_replaced(path, f"(?s)^.{{{content.FORM_CAPS[form] + 1}}}.*$")),
    ]


def _formed(path: str, key: str, form: Form) -> Line:
    value = f"{path}[{text(key)}]"
    fits = f"{matches(value, form.value)} and Len({value}) <= {content.FORM_CAPS[form]}"
    if form in (Form.ID, Form.NAME):
        short = matches(value, f"^.{{0,{content.UNSPACED_CAP}}}$")
        fits = f"(({fits}) or ({short} and {matches(value, content.UNSPACED)}))"
    return Line(put(value, text(content.MASKED), f"IsString({value})", f"not ({fits})"))


def _secrets(path: str, cache: str) -> list[Line]:
    """Masks for what looks like a key, a token or an address; one look at all values tells whether to look closer."""
    values, suspect = f'{cache}["values"]', f'{cache}["suspect"]'
    return [
        Line(
            f"set({values}, ToLowerCase(String(Values({path}))))",
            "Masks for secrets (SECRETS), where a sign of one is.",
        ),
        Line(put(suspect, "true", _signs(values))),
        *(
            Line(f"{_replaced(path, secret.pattern, secret.stand_in)} where {suspect} == true")
            for secret in content.SECRETS
        ),
    ]


def _signs(lower: str) -> str:
    """Return the test whether any secret can be in a text, in lower case: searches for literals, which cost little."""
    return " or ".join(f"Index({lower}, {text(sign)}) >= 0" for sign in SIGNS)


# One of these is in every text, in lower case, in which a secret is: what `content.SECRET_LEAD` says as one pattern,
# whose alternatives Go's engine would try at every letter. A test holds them against SECRETS.
SIGNS: Final = (
    *("@", "bearer", "basic", "passw", "secret", "key", "token", "-----begin", "eyj", "akia", "asia", "aiza"),
    *("sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "xai-", "xai_", "hf-", "hf_", "pplx-", "pplx_", "r8-", "r8_"),
    *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox"),
)


def _replaced(path: str, pattern: str, stand_in: str = content.MASKED) -> str:
    """Replace a pattern in every text of a map."""
    return f'replace_all_patterns({path}, "value", {text(pattern)}, {text(stand_in)})'


# --- the rest of a span -----------------------------------------------------------------------------------------------
def _events(allow: Sequence[str], capture: bool) -> Group:
    name, kept = "spanevent.name", "spanevent.attributes"
    if capture:
        lines = [*attributes(kept, "spanevent.cache", allow, capture), *_text_masks(name)]
        return Group("Redact: events keep the attributes that a span would.", lines, "spanevent")
    named: list[Line] = []
    for event, stay in content.EVENTS.items():
        named.append(Line(f"keep_keys({kept}, {_keys(stay)}) where {name} == {text(event)}"))
    keys = dict.fromkeys(chain.from_iterable(content.EVENTS.values()))
    cleaned = []
    for key in keys:
        value = f"{kept}[{text(key)}]"
        cleaned.append(
            Line(f"delete_key({kept}, {text(key)}) where {value} != nil and not (IsString({value}) or IsBool({value}))")
        )
        form = content.FORMS.get(key, Form.WORD)
        cleaned.append(_formed(kept, key, form))
    unknown = " and ".join(f"{name} != {text(event)}" for event in content.EVENTS)
    lines = [
        Line(f"keep_keys({kept}, []) where {unknown}"),
        *named,
        *cleaned,
        *_secrets(kept, "spanevent.cache"),
    ]
    return Group("Redact: events (EVENTS); those of other names are dropped by the filter behind.", lines, "spanevent")


def _span(capture: bool) -> Group:
    name, message = "span.name", "span.status.message"
    lines = [
        Line('set(span.trace_state, "")'),
        Line('set(span.links, span.cache["none"])', "Links are dropped: OTTL 0.161 cannot reach their attributes."),
    ]
    if capture:
        lines += [*_text_masks(name), *_text_masks(message)]
    else:
        lines += [Line(f'set({message}, "")'), *_names()]
    fit = 'span.trace_state == ""' + ("" if capture else f' and {message} == ""')
    lines.append(Line(put(span(DONE), "true", fit), "The last statement: the filter behind lets no other span pass."))
    return Group("Redact: names, status, trace state and links.", lines)


def _names() -> list[Line]:
    """A call's name is built of its vetted parts, as the conventions do; others stay where they look like code's."""
    operation = span(semconv.OPERATION)
    known = f"{operation} != nil"
    # The last that is set stays, so that the part that goes first stands last.
    named = [put("span.name", _named_by(key), known, f"{span(key)} != nil") for key in reversed(content.NAME_PARTS)]
    lines = [Line(put("span.name", operation, known)), *map(Line, named)]
    call, part = Equals(SpanAttr(semconv.OPERATION), semconv.INFERENCE_OPERATIONS), content.CALL_NAME_PART
    lines.append(Line(put("span.name", _named_by(part), holds(call), f"{span(part)} != nil")))
    unfit = _unfit("span.name", content.SPAN_NAME, content.SPAN_NAME_CAP)
    lines.append(Line(put("span.name", text(content.UNNAMED), f"{operation} == nil", unfit)))
    return [*lines, *_masks("span.name", f"{operation} == nil")]


def _named_by(key: str) -> str:
    return f'Concat([{span(semconv.OPERATION)}, {span(key)}], " ")'


def _masks(path: str, where: str = "") -> list[Line]:
    """Masks for secrets in one text."""
    cache = f"{path.partition('.')[0]}.cache"
    lower, suspect = f'{cache}["lower"]', f'{cache}["suspect {path}"]'
    lines = [Line(put(lower, f"ToLowerCase({path})", where)), Line(put(suspect, "true", where, f"({_signs(lower)})"))]
    return lines + [
        Line(f"replace_pattern({path}, {text(secret.pattern)}, {text(secret.stand_in)}) where {suspect} == true")
        for secret in content.SECRETS
    ]


def _text_masks(path: str) -> list[Line]:
    cut = f"Substring({path}, 0, {content.TEXT_CAP}, true)"
    return [Line(put(path, cut, f"Len({path}) > {content.TEXT_CAP}")), *_masks(path)]
