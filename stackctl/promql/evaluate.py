"""The evaluator: walks a syntax tree and computes every node for all steps of the query at once."""

from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np

from stackctl.errors import QueryInvalid
from stackctl.promql import aggregate, binary, durations, functions, info, rates, relabel, select, tree
from stackctl.promql.check import kind
from stackctl.promql.durations import Window
from stackctl.promql.invariance import invariant
from stackctl.promql.parse import parse
from stackctl.promql.repeats import Repeats
from stackctl.promql.select import Block, Context
from stackctl.promql.signatures import WORDS
from stackctl.promql.values import (
    ExecutionFailed,
    Mask,
    Result,
    ScalarValue,
    Series,
    Storage,
    TextValue,
    Times,
    Value,
    Vector,
    merged,
    spelled,
)


def instant(query: str, at_ms: int, storage: Storage) -> Result:
    """Evaluate a query at one moment.

    Args:
        at_ms: milliseconds since the epoch.

    Raises:
        QueryInvalid: the text is not valid; ExecutionFailed, a kind of it: series cannot be evaluated so.
        QueryUnsupported: the query uses what this engine does not have; the message names it.
    """
    node = durations.resolve(parse(query), Window())
    times = np.array([at_ms], np.int64)
    context = Context(storage, times, at_ms, at_ms, repeats=Repeats(node, times))
    with np.errstate(all="ignore"):
        if kind(node) == "matrix":
            return Result("matrix", _by_labels(_samples(context, node)))
        return _instant_result(evaluate(context, node), context.times)


def range_(query: str, start_ms: int, end_ms: int, step_ms: int, storage: Storage) -> Result:
    """Evaluate a query at every step from start to end, both included.

    Args:
        start_ms, end_ms, step_ms: milliseconds; the step is positive.

    Raises:
        QueryInvalid, QueryUnsupported: as `instant` does; also for expressions that are ranges or strings.
    """
    node = durations.resolve(parse(query), Window(end_ms - start_ms, step_ms))
    if kind(node) in ("matrix", "string"):
        raise QueryInvalid(
            f'invalid expression type "{WORDS[kind(node)]}" for range query, must be Scalar or instant Vector',
            next_step="Ask for it as an instant query.",
        )
    times = np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
    # The function step() is 0 over a single moment, in Prometheus too; the duration step() is not.
    step_ms = step_ms if end_ms > start_ms else 0
    context = Context(storage, times, start_ms, end_ms, step_ms, repeats=Repeats(node, times))
    with np.errstate(all="ignore"):
        value = evaluate(context, node)
    if isinstance(value, ScalarValue):
        return Result("matrix", [Series({}, times, value.v)])
    assert isinstance(value, Vector)
    return Result("matrix", _by_labels(list(_rows(value, times))))


def evaluate(context: Context, node: tree.Node) -> Value:
    """Evaluate a node that is not a range vector at all steps of a context."""
    match node:
        case tree.Number(value):
            return ScalarValue(np.full(context.steps, value))
        case tree.Text(value):
            return TextValue(value)
        case tree.Selector():
            return select.instant(context, node)
        case tree.Unary():
            operand = evaluate(context, node.expr)
            return _negated(operand) if node.op == "-" else operand
        case tree.Binary():
            return binary.evaluate(node, evaluate(context, node.left), evaluate(context, node.right))
        case tree.Aggregation():
            param = None if node.param is None else evaluate(context, node.param)
            if isinstance(param, ScalarValue) and invariant(node.expr):
                param = ScalarValue(np.full(context.steps, param.v[0]))
            return aggregate.evaluate(node, _vector(context, node.expr), param, context.instant)
        case tree.Call():
            return _call(context, node)
        case tree.Subquery():
            raise QueryInvalid("a subquery is a range vector", next_step="Put a function over it.")


def _negated(value: Value) -> Value:
    if isinstance(value, ScalarValue):
        return ScalarValue(-value.v)
    assert isinstance(value, Vector)
    return value.with_values(-value.v).without_name()


def _vector(context: Context, node: tree.Node) -> Vector:
    value = evaluate(context, node)
    assert isinstance(value, Vector)
    return value


def _call(context: Context, node: tree.Call) -> Value:
    name = node.name
    if name in functions.OVER_WINDOWS:
        return context.repeats.once(node, context.times, lambda: _over_windows(context, node))
    if name == "absent":
        return _absent(context, node.args[0], _vector(context, node.args[0]).anywhere)
    if name == "absent_over_time":
        return _absent(context, node.args[0], _any_sample(context, node.args[0]))
    if name == "timestamp":
        return _timestamp(context, node.args[0])
    if name in functions.OF_VALUES:
        vector = _vector(context, node.args[0])
        return vector.with_values(functions.OF_VALUES[name](vector.v)).without_name()
    if name in functions.CALENDAR:
        seconds = np.floor_divide(context.times, 1000).astype(float)
        vector = _vector(context, node.args[0]) if node.args else Vector.single(seconds)
        return vector.with_values(functions.CALENDAR[name](vector.v)).without_name()
    if name == "info":
        wanted = node.args[1] if len(node.args) > 1 else None
        assert wanted is None or isinstance(wanted, tree.Selector)
        return info.evaluate(context, _vector(context, node.args[0]), None if wanted is None else wanted.matchers)
    return functions.OTHERS[name](context, [evaluate(context, arg) for arg in node.args])


def _over_windows(context: Context, node: tree.Call) -> Vector:
    function = functions.OVER_WINDOWS[node.name]
    ranged = node.args[function.range_at]
    others = [arg for i, arg in enumerate(node.args) if i != function.range_at]
    params: list[object] = [
        value.v for value in (evaluate(context, arg) for arg in others) if isinstance(value, ScalarValue)
    ]
    if node.name == "predict_linear":
        params.append(context.times)
    word = ranged.extended if isinstance(ranged, tree.Selector) else None
    if word is not None:
        if word not in function.extended:
            raise _not_extended(word, node.name)
        params.append(word)
    series, blocks = _blocks(context, ranged)
    # In the storage's order, whatever the blocks: limitk and equal values in topk depend on it.
    v, ok = np.zeros((len(series), context.steps)), np.zeros((len(series), context.steps), np.bool_)
    for block in blocks:
        v[block.numbers], ok[block.numbers] = function.evaluate(block, *params)
    joined = Vector([one.labels for one in series], v, ok).present()
    return joined if function.keeps_name else joined.without_name()


def _not_extended(word: str, name: str) -> ExecutionFailed:
    allowed = ", ".join(sorted(n for n, row in functions.OVER_WINDOWS.items() if word in row.extended))
    return ExecutionFailed(
        f"{word} modifier can only be used with: {allowed} - not with {name}",
        next_step=f"Take off {word}, or use one of these functions.",
    )


def _blocks(context: Context, node: tree.Node) -> tuple[Sequence[Series], Iterator[Block]]:
    """Return the series of a range vector expression, and their windows in blocks."""
    if isinstance(node, tree.Selector):
        return select.windows(context, node)
    assert isinstance(node, tree.Subquery)
    series, ends = _subquery(context, node)
    return series, select.blocks(series, ends, node.range_ms)


def _subquery(context: Context, node: tree.Subquery) -> tuple[list[Series], Times]:
    """Evaluate a subquery's expression at multiples of its step, for all windows together."""
    ends = context.ends(node.at, node.offset_ms)
    step = node.step_ms or context.subquery_step_ms
    oldest = int(ends.min()) - node.range_ms
    start = oldest // step * step + step
    select.check_size(1, (int(ends.max()) - start) // step + 1)
    times = np.arange(start, int(ends.max()) + 1, step, dtype=np.int64)
    if not len(times):
        return [], ends
    value = evaluate(context.at(times), node.expr)
    vector = Vector.single(value.v) if isinstance(value, ScalarValue) else value
    assert isinstance(vector, Vector)
    return list(_rows(vector, times)), ends


def _any_sample(context: Context, node: tree.Node) -> Mask:
    found = np.zeros(context.steps, np.bool_)
    for block in _blocks(context, node)[1]:
        found |= block.filled.any(axis=0)
    return found


def _absent(context: Context, node: tree.Node, present: Mask) -> Vector:
    labels = {}
    if isinstance(node, tree.Selector):
        labels = relabel.absent_labels(node.matchers)
    return Vector.single(np.ones(context.steps), labels, ~present).present()


def _timestamp(context: Context, node: tree.Node) -> Vector:
    if isinstance(node, tree.Selector):
        return select.instant(context, node, times_instead=True).without_name()
    vector = _vector(context, node)
    return vector.with_values(np.broadcast_to(context.times / 1000.0, vector.v.shape)).without_name()


def _samples(context: Context, node: tree.Node) -> list[Series]:
    """Return the samples of a range vector at an instant query's moment."""
    _, blocks = _blocks(context, node)
    if isinstance(node, tree.Selector) and node.extended is not None:
        smoothed = node.extended == "smoothed"
        return [one for block in blocks for one in rates.extended_samples(block, smoothed)]
    return [one for block in blocks for one in _cut(block)]


def _cut(block: Block) -> Iterator[Series]:
    """Yield the samples in the windows of an instant query."""
    times = block.times if len(block.times) == len(block.rows) else repeat(block.times[0])
    bounds = zip(block.each(block.first), block.each(block.stop), strict=True)
    for labels, t, v, (first, stop) in zip(block.labels, times, block.rows, bounds, strict=False):
        if stop[0] > first[0]:
            yield Series(labels, t[first[0] : stop[0]], v[first[0] : stop[0]])


def _rows(vector: Vector, times: Times) -> Iterator[Series]:
    """Yield a vector's series with the steps at which they have a value; equal steps share one array."""
    whole = np.asarray(vector.ok.all(axis=1))
    for labels, v, ok, all_there in zip(vector.labels, vector.v, vector.ok, whole, strict=True):
        if all_there:
            yield Series(labels, times, v)
        elif ok.any():
            yield Series(labels, times[ok], v[ok])


def _by_labels(series: list[Series]) -> list[Series]:
    return sorted(series, key=lambda one: spelled(one.labels))


def _instant_result(value: Value, times: Times) -> Result:
    if isinstance(value, TextValue):
        return Result("string", text=value.text)
    if isinstance(value, ScalarValue):
        return Result("scalar", [Series({}, times, value.v)])
    return Result("vector", list(_rows(merged(value), times)))
