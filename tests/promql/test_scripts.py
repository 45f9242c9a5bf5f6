"""What queries answer, fixed in scripts; the real server answers the same."""

from pathlib import Path

import pytest
import realstack
import scripting

from stackctl.bench import promql_compare as comparison
from stackctl.bench.promql_corpus import Query
from stackctl.bench.promql_server import FEATURES
from stackctl.errors import QueryInvalid

SCRIPTS = sorted(Path(__file__).with_name("scripts").glob("*.promql"))
# OpenMetrics cannot say stale: those are compared in test_staleness.py.
WITHOUT_STALE = [path for path in SCRIPTS if not scripting.read(path).has_stale]


def _values(lines: comparison.Lines, query: Query) -> dict[object, list[float | None]]:
    """Return values per step, None where there is none."""
    end = query.start_ms if query.end_ms is None else query.end_ms
    steps = range(query.start_ms, end + 1, query.step_ms or 1)
    return {labels: [dict(points).get(step) for step in steps] for labels, points in lines}


def _check(evaluation: scripting.Evaluation, lines: comparison.Lines) -> None:
    found = _values(lines, evaluation.query)
    text = f"line {evaluation.line}: {evaluation.query.text}"
    assert found.keys() == evaluation.expected.keys(), text
    if evaluation.ordered:
        assert list(found) == list(evaluation.expected), text
    for labels, values in evaluation.expected.items():
        agree = [
            (a is None and b is None) or (a is not None and b is not None and comparison.same(a, b))
            for a, b in zip(found[labels], values, strict=True)
        ]
        assert all(agree), f"{text}: {labels} {found[labels]}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_hold(path: Path) -> None:
    """Every evaluation of every script answers, or fails, as written there."""
    script = scripting.read(path)
    assert len(script.evaluations) >= 5
    for evaluation in script.evaluations:
        if evaluation.fails is None:
            _check(evaluation, comparison.lines(comparison.ours(evaluation.query, script.samples)))
            continue
        with pytest.raises(QueryInvalid) as caught:
            comparison.ours(evaluation.query, script.samples)
        assert evaluation.fails in caught.value.message, f"line {evaluation.line}"


@pytest.mark.realstack
@pytest.mark.parametrize("path", WITHOUT_STALE, ids=lambda path: path.stem)
def test_scripts_hold_for_the_real_prometheus(path: Path, tmp_path: Path) -> None:
    """The scripts' expectations are what the real Prometheus answers."""
    script = scripting.read(path)
    with realstack.prometheus(tmp_path / "p", script.samples.open_metrics(), FEATURES) as server:
        for evaluation in script.evaluations:
            answer = comparison.theirs(evaluation.query, server)
            if evaluation.fails is None:
                _check(evaluation, comparison.server_lines(answer.kind, answer.result))
            else:
                assert evaluation.fails in str(answer.error), f"line {evaluation.line}"
