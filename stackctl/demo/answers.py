"""How a simulated model answers: out of the passages it was given, or, where its plan says so, beside them.

Which answers are ungrounded is known here and to the traffic's report of the truth, never to the judge.
"""

import re
from collections.abc import Sequence
from random import Random

from stackctl.demo.words import sentences, stems

_LEADS = ("", "", "", "In short: ", "Here is what I found. ", "Certainly. ", "According to the documents, ")
_NO_CONTEXT = "I cannot answer that from what I was given."

# Names that no document of the corpus contains, for a model that mixes something up.
_WRONG_NAMES = ("Henrik Dahl", "Porto", "Marta Quist", "Salzburg", "Oslo", "Paula Brenner")
_NUMBER = re.compile(r"\d[\d.,:]*\d|\d")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+(?: [A-Z][a-z]+)?")
_NEGATIONS = (
    (re.compile(r"\b(is|are|was|may|does|can) not\b"), r"\1"),
    (re.compile(r"\b(may|must|can|is|are) (?!not\b)"), r"\1 not "),
)
_FABRICATIONS = (
    "Holders of a library card also get a discount of 20 percent on the planetarium show.",
    "A shuttle boat across the lake leaves every quarter of an hour and is included.",
    "Reservations by telephone are confirmed with a deposit through the ticket agency in Graz.",
    "The radio antenna behind the pond is open for guided tours with headphones.",
    "Overnight stays in the guest rooms include breakfast and a morning lecture.",
    "A mobile application announces aurora alerts to subscribers across Scandinavia.",
)


def compose(question: str, passages: Sequence[str], dice: Random, *, grounded: bool) -> str:
    """Return an answer to a question.

    Args:
        question: the user's last question.
        passages: the retrieved texts of the prompt.
        dice: decides wording, seeded by the request.
        grounded: False puts one claim in that the passages do not support.
    """
    ranked = rank(question, passages)
    if not ranked:
        return _NO_CONTEXT if grounded else dice.choice(_FABRICATIONS)
    chosen = ranked[: dice.choice((1, 2, 2, 3))]
    if not grounded:
        chosen = _distort(chosen, dice)
    lead = dice.choice(_LEADS)
    first = chosen[0]
    if lead.endswith(", ") and not re.match(r"[A-Z][a-z]+ [A-Z]|Halden|Bus|Books", first):
        first = first[0].lower() + first[1:]
    return lead + " ".join([first, *chosen[1:]])


def rank(question: str, passages: Sequence[str]) -> list[str]:
    """Return the sentences of the passages that share words with the question, the best first."""
    wanted = set(stems(question))
    scored = []
    for passage in passages:
        for sentence in sentences(passage):
            found = stems(sentence)
            common = len(wanted.intersection(found))
            if common and sentence.endswith((".", "!")):
                scored.append((common / (4 + len(found)) ** 0.5, sentence))
    return [sentence for _, sentence in sorted(scored, key=lambda pair: (-pair[0], pair[1]))]


def _distort(chosen: list[str], dice: Random) -> list[str]:
    """Return the sentences with one claim wrong: a number, a name, a negation, or something made up."""
    ways = [_wrong_number, _wrong_name, _negated]
    dice.shuffle(ways)
    for way in ways[: dice.choice((1, 2, 3))]:
        for place, sentence in enumerate(chosen):
            changed = way(sentence, dice)
            if changed is not None:
                return [*chosen[:place], changed, *chosen[place + 1 :]]
    return [*chosen, dice.choice(_FABRICATIONS)]


def _wrong_number(sentence: str, dice: Random) -> str | None:
    """Put another number where the sentence has one; None without a number."""
    match = _NUMBER.search(sentence)
    if match is None:
        return None
    digits = [digit for digit in "3456789" if digit not in match.group()]
    wrong = re.sub(r"\d", lambda _: dice.choice(digits), match.group(), count=1)
    return sentence[: match.start()] + wrong + sentence[match.end() :]


def _wrong_name(sentence: str, dice: Random) -> str | None:
    """Put a foreign name where the sentence has one; None without a name."""
    match = _NAME.search(sentence)
    if match is None:
        return None
    return sentence[: match.start()] + dice.choice(_WRONG_NAMES) + sentence[match.end() :]


def _negated(sentence: str, _dice: Random) -> str | None:
    """Turn the sentence into its opposite; None where there is no verb to turn."""
    for pattern, replacement in _NEGATIONS:
        changed, count = pattern.subn(replacement, sentence, count=1)
        if count:
            return changed
    return None
