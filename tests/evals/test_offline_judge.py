"""The offline judge: what it calls hallucinated, and how often it is right on answers whose truth is known."""

from random import Random

import pytest

from stackctl.demo.answers import compose
from stackctl.demo.questions import CONVERSATIONS
from stackctl.demo.rag import CORPUS, chunked
from stackctl.evals import GROUNDED, HALLUCINATED, OfflineJudge

CONTEXT = [
    "The museum opens at 9:30 and closes at 17:00. It was founded in 1921 by Clara Winther.",
    "Dogs may not enter the garden. Bicycles may be parked in front of the gate.",
]


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("The museum opens at 9:30.", GROUNDED),
        ("In short: Clara Winther founded the museum in 1921.", GROUNDED),
        ("Bicycles can be parked in front of the gate.", GROUNDED),
        ("I cannot answer that from what I was given.", GROUNDED),
        ("The museum opens at 8:30.", HALLUCINATED),
        ("The museum was founded in 1921 by Henrik Dahl.", HALLUCINATED),
        ("Dogs may enter the garden.", HALLUCINATED),
        ("Bicycles may not be parked in front of the gate.", HALLUCINATED),
        ("The museum opens at 9:30. Visitors receive a voucher for the planetarium.", HALLUCINATED),
    ],
)
def test_a_claim_needs_its_words_numbers_names_and_sense(answer, label):
    """A wrong number, a foreign name, a turned negation and an invention are each found; paraphrase in order is not."""
    assert OfflineJudge().judge("When does the museum open?", answer, CONTEXT)[0].label == label


def test_the_score_is_the_share_of_claims_without_support():
    """One invented claim of two scores one half, and the explanation holds no text of the answer."""
    answer = "The museum opens at 9:30. A tunnel leads to the harbour."
    result = OfflineJudge().judge("When does it open?", answer, CONTEXT)[0]
    assert result.score == 0.5
    assert result.explanation == "1 of 2 claims are in the context"


def test_an_answer_beside_the_question_is_irrelevant():
    """Grounded is not enough: an answer about something else says so in its relevance."""
    _, relevance, completeness = OfflineJudge().judge("Who founded the museum?", "Dogs may not enter.", CONTEXT)
    assert (relevance.label, completeness.label) == ("irrelevant", "incomplete")


def test_the_judge_is_right_about_the_demos_answers():
    """On 600 answers whose truth is known, sensitivity and specificity are at least 0.95."""
    chunks = [chunk for path in sorted(CORPUS.glob("*.md")) for chunk in chunked(path.read_text("utf-8"))]
    questions = [question for conversation in CONVERSATIONS for question in conversation]
    dice, judge = Random(7), OfflineJudge()
    right = {True: 0, False: 0}
    for number in range(600):
        question, passages, grounded = dice.choice(questions), dice.sample(chunks, 4), number % 2 == 0
        answer = compose(question, passages, dice, grounded=grounded)
        right[grounded] += (judge.judge(question, answer, passages)[0].label == GROUNDED) == grounded
    assert right[True] / 300 >= 0.95
    assert right[False] / 300 >= 0.95
