"""A judge without a model: it splits the answer into claims and looks for each in the text the model was given.

A claim has support when the passages hold a sentence (or two neighbours) that shares enough of its weighty words,
that has its numbers and names, and that does not say the opposite. It knows nothing about the world, and paraphrase
beyond shared word stems escapes it; how well it does is measured, not assumed: tests/evals.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from stackctl.evals.result import (
    COMPLETE,
    COMPLETENESS,
    GROUNDED,
    HALLUCINATED,
    HALLUCINATION,
    INCOMPLETE,
    IRRELEVANT,
    RELEVANCE,
    RELEVANT,
    Result,
)

# Some corpora set no space between sentences; a decimal point is no end.
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')]*(?:\s+(?=[A-Z0-9\"'(])|(?=[A-Z]))")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Dr|St|Jr|No|vs|etc)|\b[A-Z])\.$")
_WORD = re.compile(r"[^\W\d_][\w'-]*|\d+(?:[.,:]\d+)*")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_NAME = re.compile(r"(?<![.!?:\"'] )(?<!^)\b[A-Z][\w-]+")
_NEGATION = re.compile(r"\b(?:not|no|none|never|without|neither|nor|cannot|nobody|nothing)\b|n't\b", re.IGNORECASE)
# What a model says about its answer rather than about the world.
_FILLER = re.compile(
    r"^(?:(?:in short|certainly|sure|of course|here is what i found|according to (?:the )?[\w ]{3,20})[,:.!]?\s*)+",
    re.IGNORECASE,
)
_REFUSAL = re.compile(r"^I (?:cannot|can't|do not|don't) (?:answer|know|say|find)\b", re.IGNORECASE)
_STOP_WORDS = frozenset(
    {
        "a",
        "about",
        "also",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "been",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
    }
    | {
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "may",
    }
    | {
        "me",
        "my",
        "of",
        "on",
        "or",
        "our",
        "she",
        "so",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
    }
    | {
        "they",
        "this",
        "those",
        "to",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "whom",
        "whose",
        "why",
    }
    | {"will", "with", "would", "you", "your", "not", "no"}
)
_SUFFIXES = ("ations", "ation", "ings", "ing", "ies", "ied", "ers", "er", "es", "ed", "ly", "s", "e", "y")


@dataclass(frozen=True)
class Thresholds:
    """Where the judge draws its lines, found on the demo's answers and on HaluEval (question answering, one turn).

    There it finds 87 of 100 hallucinated answers and leaves 94 of 100 right ones alone (1,000 answers); on the demo's
    own, 99 and 99, which says more about the demo's simple distortions than about the judge.

    Attributes:
        support: share of a claim's weight that one place of the context must hold.
        relevance, completeness: scores from which the label is the good one.
    """

    support: float = 0.7
    relevance: float = 0.3
    completeness: float = 0.5


class OfflineJudge:
    """The judge of this module.

    Args:
        thresholds: where its lines are.
    """

    name = "offline"

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self._thresholds = thresholds or Thresholds()

    def judge(self, question: str, answer: str, context: Sequence[str]) -> tuple[Result, ...]:
        """Return hallucination, relevance and completeness of an answer."""
        text = _Text(context)
        claims = _claims(answer)
        unsupported = sum(not self._supported(claim, question, text) for claim in claims)
        return (
            Result(
                HALLUCINATION,
                unsupported / len(claims) if claims else 0.0,
                HALLUCINATED if unsupported else GROUNDED,
                f"{len(claims) - unsupported} of {len(claims)} claims are in the context",
            ),
            self._relevance(question, answer, text),
            self._completeness(question, answer, text),
        )

    def _supported(self, claim: str, question: str, text: "_Text") -> bool:
        words = _stems(claim)
        if not words:
            return True
        if not _names_and_numbers_known(claim, question, text):
            return False
        place = text.best_place(words)
        if place is None or text.share(words, place.words) < self._thresholds.support:
            return False
        numbers = set(_NUMBER.findall(claim))
        if not numbers <= set(_NUMBER.findall(place.text)):
            return False
        return _polarity(claim) == _polarity(place.text)

    def _relevance(self, question: str, answer: str, text: "_Text") -> Result:
        """Score how much of the question's weight the answer takes up."""
        score = text.share(_stems(question), frozenset(_stems(answer)))
        return Result(RELEVANCE, score, RELEVANT if score >= self._thresholds.relevance else IRRELEVANT)

    def _completeness(self, question: str, answer: str, text: "_Text") -> Result:
        """Score how much of what the context says to the question stands in the answer."""
        wanted = frozenset(_stems(question))
        told = {word for place in text.sentences for word in place.words if wanted & place.words} & wanted
        score = text.share(sorted(told), frozenset(_stems(answer))) if told else 1.0
        return Result(COMPLETENESS, score, COMPLETE if score >= self._thresholds.completeness else INCOMPLETE)


@dataclass(frozen=True)
class _Place:
    """A sentence of the context, or two neighbours."""

    text: str
    words: frozenset[str]


class _Text:
    """The context in sentences, with the weight of each word: rare ones tell more (inverse sentence frequency)."""

    def __init__(self, context: Sequence[str]) -> None:
        self.whole = "\n".join(context)
        self.names = frozenset(word.lower() for word in re.findall(r"[A-Z][\w-]+", self.whole))
        found = [_sentences(passage) for passage in context]
        self.sentences = [_Place(sentence, frozenset(_stems(sentence))) for group in found for sentence in group]
        self._pairs = [
            _Place(f"{first} {second}", frozenset(_stems(f"{first} {second}")))
            for group in found
            for first, second in pairwise(group)
        ]
        self._frequency: dict[str, int] = {}
        for place in self.sentences:
            for word in place.words:
                self._frequency[word] = self._frequency.get(word, 0) + 1

    def weight(self, word: str) -> float:
        """Return how much a word tells; most when no sentence has it."""
        return math.log(1 + (len(self.sentences) + 1) / (self._frequency.get(word, 0) + 0.5))

    def share(self, words: Sequence[str], held: frozenset[str]) -> float:
        """Return which part of the words' weight is held; 0 to 1."""
        total = sum(self.weight(word) for word in words)
        return sum(self.weight(word) for word in words if word in held) / total if total else 0.0

    def best_place(self, words: Sequence[str]) -> _Place | None:
        """Return the sentence that holds most of the words, or two neighbours where they hold clearly more."""
        single = max(self.sentences, key=lambda place: self.share(words, place.words), default=None)
        double = max(self._pairs, key=lambda place: self.share(words, place.words), default=None)
        if single is None or double is None:
            return single
        better = self.share(words, double.words) > self.share(words, single.words) + 0.15
        return double if better else single


def _claims(answer: str) -> list[str]:
    """Return the sentences of an answer that claim something."""
    found = [_FILLER.sub("", sentence).strip() for sentence in _sentences(answer)]
    return [claim for claim in found if _stems(claim) and not claim.endswith("?") and not _REFUSAL.match(claim)]


def _sentences(text: str) -> list[str]:
    """Return the sentences of a text, not cut after initials and abbreviations."""
    found: list[str] = []
    for block in re.split(r"\n+", text):
        for part in _SENTENCE_END.split(block.strip()):
            if found and part and _ABBREVIATION.search(found[-1]):
                found[-1] = f"{found[-1]} {part}"
            elif part.strip():
                found.append(part.strip())
    return found


def _names_and_numbers_known(claim: str, question: str, text: _Text) -> bool:
    """Tell whether every name and number of a claim stands in the context, or in the question."""
    for name in _NAME.findall(claim):
        if name.lower() not in text.names and name not in question:
            return False
    known = set(_NUMBER.findall(text.whole)) | set(_NUMBER.findall(question))
    return set(_NUMBER.findall(claim)) <= known


def _polarity(sentence: str) -> bool:
    """Return False for a sentence that denies: it has an odd number of negations."""
    return len(_NEGATION.findall(sentence)) % 2 == 0


def _stems(text: str) -> list[str]:
    """Return the words that carry meaning, without their inflection."""
    words = (word.lower().removesuffix("'s") for word in _WORD.findall(text))
    return [_stem(word) for word in words if word not in _STOP_WORDS]


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word[: -len(suffix)]
    return word
