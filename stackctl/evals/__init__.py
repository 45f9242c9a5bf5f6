"""Scores an answer against what it was given, in the application's own process, and reports to OpenTelemetry.

    from stackctl.evals import evaluate

    results = evaluate(question, answer, passages)

Content need not leave the process: what is sent are names, scores and labels. Needs the OpenTelemetry API and nothing
else.
"""

from stackctl.evals.evaluate import evaluate
from stackctl.evals.offline import OfflineJudge
from stackctl.evals.result import COMPLETENESS, GROUNDED, HALLUCINATED, HALLUCINATION, RELEVANCE, Judge, Result

__all__ = [
    "COMPLETENESS",
    "GROUNDED",
    "HALLUCINATED",
    "HALLUCINATION",
    "RELEVANCE",
    "Judge",
    "OfflineJudge",
    "Result",
    "evaluate",
]
