"""Measures that several boards show, each defined once: as PromQL over the range shown, or at each moment of it."""

from dataclasses import dataclass
from typing import Final

from stackctl import evals, semconv


@dataclass(frozen=True)
class Window:
    """How a counter's rise is read."""

    function: str
    selector: str

    def rise(self, metric: str, matchers: str = "") -> str:
        """Return the expression for the rise of a counter."""
        return f"{self.function}({metric}{{{matchers}}}{self.selector})".replace("{}", "")


# `anchored` makes totals exact from the first call; a plain increase is extrapolated from the samples inside the range.
TOTAL: Final = Window("increase", "[$__range] anchored")
MOMENT: Final = Window("rate", "[$__rate_interval]")

_JUDGED: Final = f'{semconv.LABEL_EVALUATION}="{evals.HALLUCINATION}", {semconv.LABEL_SCORE_LABEL}!=""'
_HALLUCINATED: Final = (
    f'{semconv.LABEL_EVALUATION}="{evals.HALLUCINATION}", {semconv.LABEL_SCORE_LABEL}="{evals.HALLUCINATED}"'
)


def failed(window: Window = TOTAL, by: str = "") -> str:
    """Return the share of calls that ended in an error, per value of a label if one is given."""
    return _share(window, by, semconv.LLM_REQUESTS, f'{semconv.LABEL_ERROR}!=""')


def uncosted(window: Window = TOTAL, by: str = "") -> str:
    """Return the share of calls that no cost is known of: the model has no price, or no usage came."""
    return _share(window, by, semconv.LLM_COST_REQUESTS, f'{semconv.LABEL_COST_STATUS}!="{semconv.STATUS_PRICED}"')


def unjudged(window: Window = TOTAL) -> str:
    """Return the share of evaluations that ended in an error of the judge."""
    return _share(window, "", semconv.LLM_EVALUATIONS, f'{semconv.LABEL_ERROR}!=""')


def hallucinated(window: Window = TOTAL, by: str = "") -> str:
    """Return the share of judged answers with a claim that the retrieved text does not support."""
    return _share(window, by, semconv.LLM_EVALUATIONS, _HALLUCINATED, _JUDGED)


def hallucinated_answers(window: Window = TOTAL) -> str:
    """Return the number of hallucinated answers, 0 where all judged ones are grounded."""
    return _sum("", _or_zero(window, semconv.LLM_EVALUATIONS, _HALLUCINATED, _JUDGED))


def judged_answers(window: Window = TOTAL) -> str:
    """Return the number of answers that the judge gave a verdict on."""
    return _sum("", window.rise(semconv.LLM_EVALUATIONS, _JUDGED))


def mean_score(evaluation: str) -> str:
    """Return the mean score of an evaluation over the range shown."""
    only = f'{semconv.LABEL_EVALUATION}="{evaluation}"'
    total, count = (TOTAL.rise(f"{semconv.LLM_EVALUATION_SCORE}_{part}", only) for part in ("sum", "count"))
    return f"sum({total}) / sum({count})"


def quantile(share: float, histogram: str, window: Window = TOTAL, by: str = "", where: str = "") -> str:
    """Return the value that a share of a histogram's observations stay below.

    Args:
        share: 0.5 for the median, 0.95 for p95.
        by: one quantile per value of this label.
        where: matchers that narrow it.
    """
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({labels}) ({window.rise(f'{histogram}_bucket', where)}))"


def _share(window: Window, by: str, metric: str, part: str, whole: str = "") -> str:
    return f"{_sum(by, _or_zero(window, metric, part, whole))} / {_sum(by, window.rise(metric, whole))}"


def _or_zero(window: Window, metric: str, part: str, whole: str) -> str:
    """Return the rise of the part, and a known zero for what is in the whole and not in the part."""
    return f"{window.rise(metric, part)} or 0 * {window.rise(metric, whole)}"


def _sum(by: str, expression: str) -> str:
    return f"sum by ({by}) ({expression})" if by else f"sum({expression})"
