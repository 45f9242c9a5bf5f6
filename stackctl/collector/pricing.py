"""Price as statements: whose prices apply, which row, what the call came to, how far its window was filled.

The arithmetic is `genai.prices.cost_of` in float64. Values in the making lie in the span's cache:

    provider        whose prices apply; absent where nothing tells
    tier            a colon and the service tier that is billed; empty where that is the list price's
    response, request   a model's name in the spelling reached so far
    row             the cells of the price row; absent where none fits
    known           per model: whether any provider has it, so that the name may stand on metrics
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from stackctl import semconv
from stackctl.collector import pricebook
from stackctl.collector.group import Group
from stackctl.collector.ottl import Line, cached, every, matches, put, span, text
from stackctl.genai import prices
from stackctl.genai.prices import PriceBook
from stackctl.stack import BRACKETED, PRICE_CELL, WITH_PORT

# Marks a model that may not stand on metrics; the branch that stores spans takes it off again.
UNLISTED: Final = {
    semconv.REQUEST_MODEL: "stackctl.unlisted.request_model",
    semconv.RESPONSE_MODEL: "stackctl.unlisted.response_model",
}
_SLOTS: Final = (("response", semconv.RESPONSE_MODEL), ("request", semconv.REQUEST_MODEL))
_WAY_KEYS: Final = tuple(
    f"stackctl.pricing.{name}"
    for name in ("provider", "tier", "row", "own", *(name for slot, _ in _SLOTS for name in (slot, f"{slot} known")))
)
# What is found lies under one key until the redaction behind is done: it need not be vetted, nobody sent it.
FOUND_KEY: Final = "stackctl.found"
# No application chooses what this pipeline hands on to itself.
OWN_KEYS: Final = (*UNLISTED.values(), *_WAY_KEYS, FOUND_KEY)
_CELLS: Final = {name: at for at, name in enumerate(pricebook.COLUMNS)}
_INPUT, _OUTPUT = span(semconv.INPUT_TOKENS), span(semconv.OUTPUT_TOKENS)
_HOST, _NAME, _KEY = cached("host"), cached("hostname"), cached("host and port")


def found(key: str) -> str:
    """Return where a value for a key of the stored span is put that this pipeline found."""
    return f"{span(FOUND_KEY)}[{text(key)}]"


def _shared(name: str) -> str:
    """A value that several groups of statements need: a group's cache is its own, so it lies beside the attributes."""
    return span(f"{_SHARED}{name}")


_SHARED: Final = "stackctl.pricing."
_PROVIDER, _TIER, _ROW, _OWN = (_shared(name) for name in ("provider", "tier", "row", "own"))
# The book lies beside the spans of a request while they are priced. As a literal in a statement it would be parsed by
# OTTL, which takes time by the square of its length; a processor before this one sets it, and the last group here
# takes it off. Text before the file's keeps the Collector from reading it as YAML.
BOOK_KEY: Final = "stackctl.prices"
BOOK_PREFIX: Final = "\n"
_BOOK: Final = f"resource.attributes[{text(BOOK_KEY)}]"
_OWN_ROWS, _ROWS = cached("own rows"), cached("rows")
_ADDRESS: Final = span(semconv.SERVER_ADDRESS)
_STATUS: Final = found(semconv.COST_STATUS)
_EMBEDS: Final = f'{span(semconv.OPERATION)} == "embeddings"'


def groups(book: PriceBook, hosts: Mapping[str, str], extra_models: Iterable[str]) -> list[Group]:
    """Return what prices the accounted spans.

    Args:
        book: the prices in force; the rows themselves lie in a file.
        hosts: server address (`host` or `host:port`) to provider, before the shipped rows.
        extra_models: names that may stand on metrics though no row knows them.
    """
    own = bool(book.own)
    tiers = max((len(price.tiers) for price in book.by_key.values()), default=0)
    why = "Price (genai/prices.py): "
    return [
        _group(f"{why}whom the server's address names.", _address(hosts), f"{_ADDRESS} != nil"),
        _group(f"{why}without an address, who was said.", _said(), f"{_ADDRESS} == nil"),
        _group(f"{why}the service tier, the granted one before the one asked for.", _tier()),
        *(group for slot, key in _SLOTS for group in _slot(slot, key, book)),
        _group(
            f"{why}which models stand on metrics: those with a price, and models.extra.", _listed(any(extra_models))
        ),
        _group(f"{why}the cost by the row that was found.", [*_rates(tiers, own), *_status(), *_cost(), *_found()]),
        _group(
            f"{why}nothing of the way there stays.",
            [Line(f"delete_key(span.attributes, {text(key)})") for key in _WAY_KEYS],
        ),
        Group("The book goes.", [Line(f"delete_key(resource.attributes, {text(BOOK_KEY)})")], "resource"),
    ]


def _group(why: str, lines: list[Line], *conditions: str) -> Group:
    """Statements over the calls that count."""
    return Group(why, lines, conditions=[every(f"{span(semconv.ACCOUNTED)} == true", *conditions)])


# --- whose prices -----------------------------------------------------------------------------------------------------
def _address(hosts: Mapping[str, str]) -> list[Line]:
    port, unknown = span(semconv.SERVER_PORT), f"{_PROVIDER} == nil"
    lines = [
        Line(put(_HOST, f"ToLowerCase({_ADDRESS})")),
        Line(f'replace_pattern({_HOST}, "^[a-z+]+://", "")'),
        Line(f'replace_pattern({_HOST}, "(?s)/.*$", "")'),
        Line(put(_NAME, _HOST)),
        *(Line(f'replace_pattern({_NAME}, {text(port)}, "${{1}}")') for port in (WITH_PORT, BRACKETED)),
    ]
    if hosts:
        lines += [
            Line(f'replace_pattern({_HOST}, {text(BRACKETED)}, "${{1}}${{2}}")'),
            Line(put(_KEY, _HOST, f"{_HOST} != {_NAME}"), "The user's own addresses (prices.hosts) first."),
            Line(put(_KEY, f'Concat([{_NAME}, {port}], ":")', f"{_HOST} == {_NAME}", f"{port} != nil")),
        ]
        for at in (_KEY, _NAME):
            lines += [
                Line(put(_PROVIDER, text(provider), unknown, f"{at} == {text(host)}"))
                for host, provider in hosts.items()
            ]
    rows = [
        Line(put(_PROVIDER, text(row.provider), unknown, matches(_NAME, f"^(?:{row.host})$"))) for row in prices.HOSTS
    ]
    return [*lines, *rows]


def _said() -> list[Line]:
    sent = span(semconv.PROVIDER)
    lines = [
        Line(put(_PROVIDER, text(provider), f"{sent} == {text(name)}")) for name, provider in prices.PROVIDERS.items()
    ]
    other = put(_PROVIDER, sent, f"{_PROVIDER} == nil", f"{sent} != nil", matches(sent, f"^{PRICE_CELL.pattern}$"))
    return [*lines, Line(other)]


def _tier() -> list[Line]:
    answered, asked = span(semconv.RESPONSE_TIER), span(semconv.REQUEST_TIER)
    return [
        Line(put(_TIER, '""')),
        Line(put(_TIER, f"ToLowerCase({asked})", f"{asked} != nil")),
        Line(put(_TIER, f"ToLowerCase({answered})", f"{answered} != nil", f'{answered} != ""')),
        Line(put(_TIER, '""', matches(_TIER, f"^({'|'.join(prices.LIST_TIERS)})$")), "Billed at the list price."),
        Line(f'replace_pattern({_TIER}, ",", " ")', "No cell of a row holds a comma."),
        Line(put(_TIER, f'Concat([":", {_TIER}], "")', f'{_TIER} != ""')),
    ]


# --- which row --------------------------------------------------------------------------------------------------------
def _slot(slot: str, key: str, book: PriceBook) -> list[Group]:
    """Look a model up in each spelling, the most exact first; the response's before the request's."""
    name = _shared(slot)
    needed, lines = [f"{span(key)} != nil", f'Index({span(key)}, ",") < 0'], []
    own_rows = "".join(f"\n{pricebook.row(price)}" for price in book.own.values()) + "\n"
    own = [Line(put(_OWN_ROWS, text(own_rows)), "The user's own prices (prices.rows) win in every spelling.")]
    if slot == "request":
        same = f"{span(key)} == {span(semconv.RESPONSE_MODEL)}"
        lines.append(Line(put(_known(slot), "true", f"{_known('response')} == true", same)))
        needed.append(f"not ({same})")
    lines.append(Line(put(name, f"ToLowerCase({span(key)})", *needed)))
    lines += [*(own if book.own else []), *_lookup(slot, bool(book.own))]
    missing = [f"{_ROW} == nil", f"{_known(slot)} == nil", *([f"{_OWN} == nil"] if book.own else [])]
    spelled = [Line(put(cached("before"), name)), *(own if book.own else [])]
    for rewrite in prices.REWRITES:
        replacement = re.sub(r"\\(\d)", r"${\1}", rewrite.replacement)
        spelled.append(Line(f"replace_pattern({name}, {text(rewrite.pattern)}, {text(replacement)})", rewrite.why))
        spelled += _lookup(slot, bool(book.own))
    return [
        _group(f"Price: the {slot}'s model, as it is.", lines),
        _group(
            f"Price: the {slot}'s model in other spellings.", spelled, f"{name} != nil", f"({' or '.join(missing)})"
        ),
    ]


def _known(slot: str) -> str:
    return _shared(f"{slot} known")


def _lookup(slot: str, own: bool) -> list[Line]:
    """Look the spelling reached so far up, where it is a new one."""
    name, before, tiered = _shared(slot), cached("before"), cached("tiered")
    fresh = f"{name} != {before}"
    named = f'Index({_ROWS}, Concat(["\\n", {name}, ","], "")) >= 0'
    lines = [
        *_section(name, fresh),
        Line(put(_known(slot), "true", fresh, f"{_known(slot)} == nil", named)),
        Line(put(tiered, f'Concat([{name}, {_TIER}], "")', fresh)),
        *_section(tiered, every(fresh, f'{_TIER} != ""')),
        *_row(_ROW, _ROWS, tiered, fresh),
    ]
    if own:
        lines += _row(_OWN, _OWN_ROWS, tiered, fresh)
    return [*lines, Line(put(before, name, fresh))]


def _row(into: str, table: str, name: str, fresh: str) -> list[Line]:
    hit = cached("hit")
    wanted = every(fresh, f"{into} == nil", f"{_PROVIDER} != nil")
    rest = f"Substring({table}, {hit} + 1, Len({table}) - {hit} - 1)"
    return [
        Line(put(hit, f'Index({table}, Concat(["\\n", {name}, ",", {_PROVIDER}, ","], ""))', wanted)),
        Line(put(into, f'Split(Split({rest}, "\\n")[0], ",")', wanted, f"{hit} >= 0")),
    ]


def _listed(extra: bool) -> list[Line]:
    lines = []
    for slot, key in _SLOTS:
        model, unknown = span(key), f"{span(key)} != nil and {_known(slot)} == nil"
        if extra:
            named = f'Index({_ROWS}, Concat(["\\n{pricebook.EXTRA}", {model}, ","], "")) >= 0'
            lines += _section(model, unknown)
            lines.append(Line(put(_known(slot), "true", unknown, f'Index({model}, ",") < 0', named)))
        lines.append(Line(put(found(UNLISTED[key]), "true", unknown)))
    return lines


def _section(name: str, where: str) -> list[Line]:
    """Take the section of the book in which a name would be."""
    at = cached("at")
    number = f"ParseInt(Substring(SHA256({name}), 0, 2), 16)"
    cell = f"Substring({_BOOK}, {at} + {{}}, {pricebook.DIGITS})"
    offset, length = (f"Int({cell.format(start)})" for start in (pricebook.OFFSET_AT, pricebook.LENGTH_AT))
    return [
        Line(put(at, f"{number} * {pricebook.INDEX_WIDTH} + {len(BOOK_PREFIX)}", where)),
        Line(put(_ROWS, f"Substring({_BOOK}, {offset} + {len(BOOK_PREFIX)}, {length})", where)),
    ]


# --- what it came to --------------------------------------------------------------------------------------------------
def _cell(name: str) -> str:
    return f"{_ROW}[{_CELLS[name]}]"


def _rate(at: int) -> str:
    return f"{cached('rates')}[{at}]"


_READ, _WRITE, _OUT = _rate(2), _rate(3), _rate(4)


def _rates(most_tiers: int, own: bool) -> list[Line]:
    """The four rates, behind an unused first cell, as a tier has its start there."""
    base = ", ".join(_cell(name) for name in ("input", "cache_read", "cache_write", "output"))
    priced = f"{_ROW} != nil"
    lines = [Line(put(_ROW, _OWN, f"{_OWN} != nil"))] if own else []
    lines.append(
        Line(put(cached("rates"), f'["", {base}]', priced), "Rates, those of the tier that the input reaches.")
    )
    tiers, tiered = cached("tiers"), f'{priced} and {_cell("tiers")} != "" and {_INPUT} != nil'
    lines.append(Line(put(tiers, f'Split({_cell("tiers")}, "+")', tiered)))
    for tier in range(most_tiers):
        cells = f'Split({tiers}[{tier}], ":")'
        reached = f"{tiers} != nil and Len({tiers}) > {tier} and {_INPUT} > Int({cells}[0])"
        lines.append(Line(put(cached("rates"), cells, reached)))
    return lines


def _status() -> list[Line]:
    needs_output = f'{_OUTPUT} == nil and not ({_EMBEDS}) and ({_ROW} == nil or {_OUT} != "")'
    return [
        Line(
            put(_STATUS, text(semconv.STATUS_NO_USAGE), f"({_INPUT} == nil or ({needs_output}))"),
            "Neither no usage nor an unknown model is ever a zero.",
        ),
        Line(put(_STATUS, text(semconv.STATUS_UNPRICED), f"{_STATUS} == nil and {_ROW} == nil")),
        Line(put(_STATUS, text(semconv.STATUS_PRICED), f"{_STATUS} == nil")),
    ]


def _cost() -> list[Line]:
    priced = f"{_STATUS} == {text(semconv.STATUS_PRICED)}"
    read, write, ordinary = cached("read"), cached("write"), cached("ordinary")
    lines = []
    for counted, rate, key in ((read, _READ, semconv.CACHE_READ_TOKENS), (write, _WRITE, semconv.CACHE_WRITE_TOKENS)):
        lines.append(Line(put(counted, "0.0", priced)))
        lines.append(Line(put(counted, f"Double({span(key)})", priced, f"{span(key)} != nil", f'{rate} != ""')))
    lines += [
        Line(
            put(ordinary, f"Double({_INPUT}) - {read} - {write}", priced),
            "More cached than sent is a library that leaves cached tokens out of input.",
        ),
        Line(put(ordinary, "0.0", priced, f"{ordinary} < 0.0")),
        Line(put(found(semconv.COST_INPUT_USD), f"{ordinary} * Double({_rate(1)}) / 1000000.0", priced)),
    ]
    parts = (
        (semconv.COST_CACHE_READ_USD, read, semconv.CACHE_READ_TOKENS, _READ),
        (semconv.COST_CACHE_WRITE_USD, write, semconv.CACHE_WRITE_TOKENS, _WRITE),
        (semconv.COST_OUTPUT_USD, f"Double({_OUTPUT})", semconv.OUTPUT_TOKENS, _OUT),
    )
    for key, counted, sent, rate in parts:
        value = f"{counted} * Double({rate}) / 1000000.0"
        lines.append(Line(put(found(key), value, priced, f"{span(sent)} != nil", f'{rate} != ""')))
    total = found(semconv.COST_USD)
    lines.append(Line(put(total, found(semconv.COST_INPUT_USD), priced)))
    lines += [Line(put(total, f"{total} + {found(key)}", f"{found(key)} != nil")) for key, *_ in parts]
    return lines


def _found() -> list[Line]:
    window = _cell("context_window")
    utilization = f"Double({_INPUT}) / Double({window})"
    return [
        Line(put(found(semconv.PRICED_PROVIDER), _cell("provider"), f"{_ROW} != nil"), "Where the price was found."),
        Line(put(found(semconv.PRICED_MODEL), _cell("model"), f"{_ROW} != nil")),
        Line(
            put(
                found(semconv.CONTEXT_UTILIZATION), utilization, f"{_ROW} != nil", f'{window} != ""', f"{_INPUT} != nil"
            )
        ),
    ]
