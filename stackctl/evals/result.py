"""What a judge says about an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

# Names of the evaluations. The conventions name none: https://github.com/open-telemetry/semantic-conventions-genai,
# events.
HALLUCINATION: Final = "hallucination"
RELEVANCE: Final = "relevance"
COMPLETENESS: Final = "completeness"

# Labels.
HALLUCINATED: Final = "hallucinated"
GROUNDED: Final = "grounded"
RELEVANT: Final = "relevant"
IRRELEVANT: Final = "irrelevant"
COMPLETE: Final = "complete"
INCOMPLETE: Final = "incomplete"


@dataclass(frozen=True)
class Result:
    """One evaluation of one answer.

    Attributes:
        name: what was evaluated, e.g. `hallucination`.
        score: 0 to 1; of `hallucination` the share of claims without support, of the others the more the better.
        label: the verdict; None where the judge failed.
        explanation: how it came about, without text of the question, the answer or the context.
        error_type: why there is no verdict; None where there is one.
    """

    name: str
    score: float | None
    label: str | None
    explanation: str | None = None
    error_type: str | None = None


class Judge(Protocol):
    """Scores an answer."""

    name: str

    def judge(self, question: str, answer: str, context: Sequence[str]) -> tuple[Result, ...]:
        """Return one result per evaluation; the first is the one that tells best whether the answer can be trusted.

        Args:
            question: what the user asked.
            answer: what the model answered.
            context: the texts the model was given to answer from.
        """
        ...
