"""Hostile queries: PromQL and TraceQL out of a grammar, broken texts, and single ones that are known to hurt."""

import random
from collections.abc import Callable, Sequence
from urllib.parse import quote

NAMES = (
    "llm_requests_total", "llm_tokens_total", "llm_request_duration_seconds_bucket", "llm_cost_usd_total", "bomb", "up",
    "ALERTS", "service:llm_requests:rate5m", "fuzz_1", "nothing", "le", "by", "inf", "sum",
)  # fmt: skip
LABELS = ("job", "service_name", "le", "gen_ai_request_model", "error_type", "__name__", "value", "a", '"odd label"')
DURATIONS = ("1ms", "1s", "30s", "5m", "1h", "1d", "1w", "1y", "5m30s", "0s", "999999y", "1", "0.5", "1e9", "-5m")
NUMBERS = ("0", "1", "-1", "0.5", "1e308", "1e999", "NaN", "Inf", "-Inf", "0x1F", "1_000", "3h", ".5", "5.", "1e-320")
REGEXES = (
    ".*", ".+", "", "a|b|", "(a+)+$", "(a|aa)+b", "((((((((x*)*)*)*)*)*)*)*)", "(x{100}){100}", "x{1000}", "(?i)A.*",
    "[", "(", "\\\\d+", "\\\\p{Greek}+", "(?P<n>a)", "(?=a)", "(.*)(.*)(.*)(.*)(.*)[0-9]",
    "^(([a-z])+.)+[A-Z]([a-z])+$", "a{1,1001}", "|" * 500, "(" * 200 + ")" * 200, ".?" * 300 + "a" * 300, "[^x]" * 400,
    "\\\\x{10FFFF}",
)  # fmt: skip
FUNCTIONS = (
    "rate", "increase", "irate", "delta", "deriv", "sum_over_time", "avg_over_time", "max_over_time",
    "quantile_over_time", "last_over_time", "stddev_over_time", "absent", "absent_over_time", "abs", "ceil", "exp",
    "ln", "sqrt", "clamp", "clamp_max", "round", "scalar", "vector", "time", "timestamp", "hour", "month",
    "histogram_quantile", "label_replace", "label_join", "sort", "sort_desc", "topk", "predict_linear",
    "double_exponential_smoothing", "resets", "changes", "info", "histogram_fraction", "sort_by_label", "mad_over_time",
    "pi", "nosuchfunction", "day_of_year",
)  # fmt: skip
FOLDS = (
    "sum", "avg", "min", "max", "count", "group", "stddev", "topk", "bottomk", "quantile", "count_values", "limitk",
    "limit_ratio",
)  # fmt: skip
OPERATORS = (
    "+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "and", "or", "unless", "atan2", "== bool", "> bool",
)  # fmt: skip
HURTING = (
    "-" * 5000 + "1", "(" * 3000 + "1" + ")" * 3000, "1" + " + 1" * 4000, "up" + " or up" * 2000, "up" + "[1m:1s]" * 50,
    "sum(" * 1500 + "up" + ")" * 1500, "abs(" * 800 + "up" + ")" * 800,
    "up{" + ",".join(f'a{n}="b"' for n in range(3000)) + "}", "max_over_time(up[999y:1ms])",
    "max_over_time(rate(up[1y:1s])[1y:1s])", "count_over_time(vector(1)[1y:1ms])", "up offset 292277026596y",
    "up @ 1e300", "up @ -9223372036854775808", "rate(up[292y])", "{__name__=~\".+\"}[10y]",
    "topk(1e308, {__name__=~\".+\"})", "count_values(\"x\", {__name__=~\".+\"})", "quantile(NaN, {__name__=~\".+\"})",
    "round(up, 5e-324)", "label_replace({__name__=~\".+\"}, \"a\", \"$1$2${3}$$\", \"b\", \"(.*)(.*)\")",
    "vector(1) ^ 1e308", "label_join({__name__=~\".+\"}, \"__name__\", \"\\x00\", \"a\")",
    "histogram_quantile(2, {le=~\".*\"})", "#" * 10000, "2" * 400, "0x" + "f" * 400, "\"" + "a" * 100000 + "\"",
    "up{a=\"" + "\\u00e4" * 10000 + "\"}", "`" + "\n" * 1000 + "`",
    "{__name__=~\".+\"} * on() group_left() {__name__=~\".+\"}", "{__name__=~\".+\"} + {__name__=~\".+\"}", "1 @ 1",
    "up[5m:]", "double_exponential_smoothing({__name__=~\".+\"}[1h], 0.5, 0.5)", "absent({__name__=~\".+\", a=\"b\"})",
    "\ud7ff\u2028", "sort_by_label({__name__=~\".+\"}, " + ",".join(['"a"'] * 500) + ")",
)  # fmt: skip


class PromQl:
    """Writes PromQL that is mostly well-formed and often absurd."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def text(self) -> str:
        """Return one query."""
        way = self.chance.random()
        if way < 0.03:
            return self.chance.choice(HURTING)
        whole = self.expression(self.chance.randint(0, 5))
        return broken(self.chance, whole) if way < 0.3 else whole

    def expression(self, depth: int) -> str:
        """Return an expression of at most some levels."""
        pick = self.chance.choice
        if depth <= 0:
            return pick((self.selector(), pick(NUMBERS), self.selector(), f'"{pick(REGEXES)}"'))
        below = lambda: self.expression(depth - 1)  # noqa: E731
        match self.chance.randrange(7):
            case 0:
                return f"{pick(FOLDS)} {pick(('by', 'without'))} ({pick(LABELS)}) ({self.parameter()}{below()})"
            case 1:
                return f"{pick(FOLDS)}({self.parameter()}{below()})"
            case 2:
                return f"({below()}) {pick(OPERATORS)} {self.matching()}({below()})"
            case 3:
                return f"{pick(FUNCTIONS)}({self.parameter()}{self.ranged(depth - 1)})"
            case 4:
                rest = pick(("", ", 0.5", ", 1, 2", ', "a", "$1", "b", "(.*)"'))
                return f"{pick(FUNCTIONS)}({below()}{rest})"
            case 5:
                return f"-({below()})"
            case _:
                return self.selector()

    def parameter(self) -> str:
        """Return a first argument, mostly none."""
        return self.chance.choice(("", "", "", f"{self.chance.choice(NUMBERS)}, ", '"x", '))

    def matching(self) -> str:
        """Return how the sides of an operator match."""
        label = self.chance.choice(LABELS)
        return self.chance.choice(
            ("", "", f"on({label}) ", f"ignoring({label}) group_left({label}) ", "on() group_right() ")
        )

    def selector(self) -> str:
        """Return an instant selector."""
        pick = self.chance.choice
        few = ",".join(
            pick(LABELS) + pick(("=", "!=", "=~", "!~")) + f'"{pick(REGEXES)}"'
            for _ in range(self.chance.randint(0, 2))
        )
        name = pick((*NAMES, ""))
        when = pick(("",) * 4 + (f" offset {pick(DURATIONS)}", f" @ {pick(NUMBERS)}", " @ end()", " anchored"))
        return f"{name}{{{few}}}{when}" if few or not name else f"{name}{when}"

    def ranged(self, depth: int) -> str:
        """Return a range selector or a subquery."""
        pick = self.chance.choice
        if self.chance.random() < 0.3:
            return f"({self.expression(depth)})[{pick(DURATIONS)}:{pick(('', *DURATIONS))}]"
        return f"{pick(NAMES)}[{pick(DURATIONS)}]{pick(('', '', ' anchored', ' smoothed', ' offset 1m', ' @ start()'))}"


ATTRIBUTES = (
    ".service.name", "resource.service.name", "span.gen_ai.request.model", "span.gen_ai.usage.input_tokens", "name",
    "status", "kind", "duration", "rootName", "trace:id", "span:id", "span:parentID", "event:name", "link:traceID",
    "childCount", "statusMessage", "traceDuration", "nestedSetLeft", ".nothing", 'span."odd key"', "parent.name",
    "event.x", "instrumentation:name", "nosuch:intrinsic", "resource.s:a:s", "span.tid_hi",
)  # fmt: skip
LITERALS = (
    '"chat"', "ok", "error", "server", "1", "-1", "0.5", "10ms", "1h", "true", "nil", '""', "`raw`", "1e308",
    "99999999999999999999", '"\\u0000"', "500ns", "client", "9223372036854775807", "unset",
)  # fmt: skip
# Attributes and literals of one kind, and what may stand between them.
FITTING = (
    (("name", "rootName", ".service.name", "resource.service.name", "span.gen_ai.request.model", "statusMessage",
      'span."odd key"', "event:name", "trace:id", ".nothing", "parent.name", "instrumentation:name"),
     ('"chat"', '""', "`raw`", '"\\u0000"'), ("=", "!=", ">", "<=")),
    (("duration", "traceDuration"), ("10ms", "1h", "500ns", "0s"), ("=", "!=", ">", "<", ">=", "<=")),
    (("span.gen_ai.usage.input_tokens", "childCount", "nestedSetLeft", ".nothing", "event.x"),
     ("1", "-1", "0.5", "1e308", "9223372036854775807"), ("=", "!=", ">", "<", ">=", "<=")),
    (("status",), ("ok", "error", "unset"), ("=", "!=")),
    (("kind",), ("server", "client", "internal"), ("=", "!=")),
    ((".nothing", "span.gen_ai.request.model", "event.x", "parent.nothing"), ("nil", "true", "false"), ("=", "!=")),
)  # fmt: skip
STRUCTURAL = (">>", "<<", ">", "<", "~", "!>>", "!~", "&>>", "&<", "&~", "&&", "||")
METRICS = (
    "rate()", "count_over_time()", "quantile_over_time(duration, .5, .99)",
    "avg_over_time(span.gen_ai.usage.input_tokens)", "histogram_over_time(duration)",
    "max_over_time(duration) by (name)", "rate() by (resource.service.name, name)", "compare({status=error})",
    "rate() by (span.nothing) | topk(5)", "quantile_over_time(duration, 2)", "min_over_time(name)",
    "sum_over_time(duration) > 1s", "rate() with (exemplars=true)",
)  # fmt: skip
HURTING_TRACES = (
    "{" * 3000, "(" * 2000 + "{}" + ")" * 2000, "{ " + "!" * 3000 + "true }", "{ " + "-" * 3000 + "1 = 1 }",
    "{}" + " && {}" * 300, "{}" + " >> {}" * 60, "{}" + " | {}" * 500, "{ " + " && ".join(['.a = "b"'] * 800) + " }",
    "{ .a =~ \"" + "(" * 1000 + "\" }", "{ 1 " + "+ 1 " * 2000 + "= 1 }",
    "{} | select(" + ",".join(["name"] * 500) + ")", "{} | by(name) | by(status) | coalesce()",
    "{ ." + "a" * 100_000 + " = 1 }", "{ .a = \"" + "b" * 100_000 + "\" }", "{ duration > 99999999999999999999h }",
    "\0", "{}\0", "{ .a = 1e999 }", "{ .a ^ .b ^ .c ^ .d ^ .e > 0 }", "{ 1 / 0 = 1 }", "{ 1 % 0 = 1 }",
    "{ duration / 0 > 1 }", "/*", "//", "({} | count() > 1) " + "&& ({} | count() > 1) " * 40,
    "{} | avg(duration) + " * 50 + "1 > 1", "{ name =~ name }", "{ .a = .b || .c != .d && .e =~ \"x\" }",
    "{} | rate() by (" + ",".join(f"span.a{n}" for n in range(200)) + ")",
)  # fmt: skip


class TraceQl:
    """Writes TraceQL that is mostly well-formed and often absurd."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def text(self, metrics: bool = False) -> str:
        """Return one query."""
        way = self.chance.random()
        if way < 0.03:
            return self.chance.choice(HURTING_TRACES)
        whole = self.pipeline(metrics)
        return broken(self.chance, whole) if way < 0.3 else whole

    def pipeline(self, metrics: bool) -> str:
        """Return a spanset with stages behind it."""
        pick = self.chance.choice
        stages = [self.spanset(self.chance.randint(0, 3))]
        if metrics:
            stages.append(pick(METRICS))
        elif self.chance.random() < 0.4:
            fold = pick(("count()", f"avg({pick(ATTRIBUTES)})", f"max({pick(ATTRIBUTES)})", f"sum({pick(ATTRIBUTES)})"))
            stages.append(
                pick(
                    (
                        f"{fold} {pick(('>', '<', '=', '!='))} {pick(LITERALS)}",
                        f"select({pick(ATTRIBUTES)}, {pick(ATTRIBUTES)})",
                        f"by({pick(ATTRIBUTES)})",
                        "coalesce()",
                        self.spanset(1),
                        f"{fold} / 2 > count()",
                    )
                )
            )
        return " | ".join(stages)

    def spanset(self, depth: int) -> str:
        """Return a spanset expression of at most some levels."""
        if depth <= 0 or self.chance.random() < 0.4:
            return f"{{ {self.condition(self.chance.randint(0, 4))} }}" if self.chance.random() < 0.9 else "{}"
        return f"({self.spanset(depth - 1)} {self.chance.choice(STRUCTURAL)} {self.spanset(depth - 1)})"

    def condition(self, depth: int) -> str:
        """Return a condition; mostly of a kind that makes sense, not always of values that do."""
        pick = self.chance.choice
        if self.chance.random() < 0.03:
            return self.value(depth)
        match self.chance.randrange(7) if depth > 0 else 6:
            case 0 | 1:
                return f"({self.condition(depth - 1)}) {pick(('&&', '||'))} ({self.condition(depth - 1)})"
            case 2:
                return f"!({self.condition(depth - 1)})"
            case 3:
                return pick(FITTING[0][0]) + pick((" =~ ", " !~ ")) + f'"{pick(REGEXES)}"'
            case 4:
                return f"{self.number(depth - 1)} {pick(('=', '!=', '>', '<='))} {self.number(depth - 1)}"
            case _:
                attributes, literals, operators = pick(FITTING)
                return f"{pick(attributes)} {pick(operators)} {pick(literals)}"

    def number(self, depth: int) -> str:
        """Return a number, or what is computed of numbers."""
        pick = self.chance.choice
        attributes, literals, _ = FITTING[2]
        if depth <= 0 or self.chance.random() < 0.4:
            return pick((pick(attributes), pick(literals)))
        return f"({self.number(depth - 1)} {pick(('+', '-', '*', '/', '%', '^'))} {self.number(depth - 1)})"

    def value(self, depth: int) -> str:
        """Return an attribute, a literal, or what is computed of them."""
        pick = self.chance.choice
        if depth <= 0 or self.chance.random() < 0.5:
            return pick((pick(ATTRIBUTES), pick(LITERALS)))
        return f"({self.value(depth - 1)} {pick(('+', '-', '*', '/', '%', '^'))} {self.value(depth - 1)})"


_PIECES = (
    "",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    '"',
    "'",
    "`",
    "\\",
    ",",
    "=~",
    "!",
    "-",
    ":",
    "@",
    "\0",
    "\u00e4",
    "#",
    "//",
    "by",
    "1e",
    "$",
    "|",
    "\n",
)


def broken(chance: random.Random, whole: str) -> str:
    """Return a text with one to five places changed."""
    for _ in range(chance.randint(1, 5)):
        at = chance.randint(0, len(whole))
        whole = whole[:at] + chance.choice(_PIECES) + whole[at + chance.randint(0, 3) :]
    return whole


# --- parameters -------------------------------------------------------------------------------------------------------
TIMES = (
    "0", "1", "-1", "1700000000", "1700000000.123", "1e20", "-1e20", "NaN", "Inf", "", "x", "2026-01-01T00:00:00Z",
    "now", "9223372036854775807", "1700000000000000000", "0x10", "1_0", "２",
)  # fmt: skip
STEPS = ("1", "15s", "1m", "1h", "0", "-1", "0.001", "1e-9", "1e9", "x", "", "99999y", "1ms")


def when(chance: random.Random, now: float) -> Sequence[tuple[str, str]]:
    """Return start, end and step; mostly of the last hour."""
    if chance.random() < 0.6:
        start, end = now - chance.choice((60, 600, 3600, 86_400)), now
        return (
            ("start", f"{start:.{chance.choice((0, 0, 3))}f}"),  # a search takes whole seconds only
            ("end", f"{end:.0f}"),
            ("step", chance.choice(("15", "60", "1m", "7.5", "300"))),
        )
    return ("start", chance.choice(TIMES)), ("end", chance.choice(TIMES)), ("step", chance.choice(STEPS))


def encoded(pairs: Sequence[tuple[str, str]]) -> str:
    """Return parameters for an address or a form."""
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)


def prometheus(chance: random.Random, now: float) -> tuple[str, str]:
    """Return path and parameters of one question to the Prometheus API."""
    query = PromQl(chance).text
    path = chance.choice(_PROMETHEUS)
    pairs: list[tuple[str, str]] = []
    if path.startswith("query"):
        pairs = [("query", query()), *when(chance, now)]
        if path == "query":
            pairs = [("query", query()), ("time", f"{now:.0f}" if chance.random() < 0.7 else chance.choice(TIMES))]
    elif path == "metadata":
        pairs = [("metric", chance.choice(NAMES)), ("limit", chance.choice(TIMES))]
    elif path in ("rules", "alerts"):
        odd = chance.choice(REGEXES)
        pairs = [
            ("type", chance.choice(("alert", "record", "", "x"))),
            (chance.choice(("rule_name[]", "match[]", "file[]")), odd),
        ]
    else:
        pairs = [("match[]", PromQl(chance).selector()), *when(chance, now)]
    if chance.random() < 0.2:
        pairs.append(
            (chance.choice(("limit", "timeout", "lookback_delta", "stats", "\0")), chance.choice((*TIMES, *STEPS)))
        )
    return f"/api/v1/{path}", encoded(pairs)


_PROMETHEUS = (
    "query", "query", "query", "query_range", "query_range", "query_range", "query_exemplars", "series", "labels",
    "label/job/values", "label/__name__/values", "label/%00/values", "label/a%2Fb/values", "metadata", "rules",
    "alerts",
)  # fmt: skip


def tempo(chance: random.Random, now: float) -> tuple[str, str]:
    """Return path and parameters of one question to the Tempo API."""
    pick = chance.choice
    query = TraceQl(chance)
    path, parameters = pick(_TEMPO)(chance, query, now)
    if chance.random() < 0.2:
        parameters = (
            *parameters,
            (pick(("limit", "spss", "minDuration", "maxDuration", "tags", "\0")), pick((*TIMES, *STEPS))),
        )
    return path, encoded(parameters)


Ask = Callable[[random.Random, TraceQl, float], tuple[str, Sequence[tuple[str, str]]]]


def _search(chance: random.Random, query: TraceQl, now: float) -> tuple[str, Sequence[tuple[str, str]]]:
    return "/api/search", (("q", query.text()), *when(chance, now)[:2], ("limit", "20"))


def _measure(chance: random.Random, query: TraceQl, now: float) -> tuple[str, Sequence[tuple[str, str]]]:
    return chance.choice(("/api/metrics/query_range", "/api/metrics/query")), (
        ("q", query.text(metrics=chance.random() < 0.9)),
        *when(chance, now),
    )


def _tags(chance: random.Random, query: TraceQl, now: float) -> tuple[str, Sequence[tuple[str, str]]]:
    tag = quote(chance.choice((*ATTRIBUTES, "\0", "a/b", "../x", "")), safe="")
    path = chance.choice((f"/api/v2/search/tag/{tag}/values", f"/api/search/tag/{tag}/values", "/api/v2/search/tags"))
    return path, (
        ("q", query.text()),
        ("scope", chance.choice(("span", "resource", "event", "link", "none", "", "x"))),
        *(when(chance, now)[:2] if chance.random() < 0.5 else ()),
    )


def _trace(chance: random.Random, _query: TraceQl, _now: float) -> tuple[str, Sequence[tuple[str, str]]]:
    wanted = chance.choice(
        (f"{chance.getrandbits(128):032x}", "0", "zz", "f" * 33, "%00", "..%2f..", "1" * 5000, "%E2%82%AC")
    )
    return chance.choice(("/api/traces/", "/api/v2/traces/")) + wanted, ()


_TEMPO: tuple[Ask, ...] = (_search, _search, _search, _measure, _measure, _tags, _trace)
