"""Text as the simulated models see it: tokens, sentences, word stems, and an embedding that makes retrieval work."""

import re
from functools import lru_cache
from hashlib import blake2b
from math import sqrt

EMBEDDING_DIMENSIONS = 512

_TOKEN = re.compile(r"\w{1,6}|[^\w\s]")
_WORD = re.compile(r"[a-zA-Z][a-zA-Z'-]*|\d[\d.,:]*\d|\d")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'])")
_STOP_WORDS = frozenset(
    {"a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "do", "does", "for", "from", "had", "has"}
    | {"have", "how", "i", "if", "in", "into", "is", "it", "its", "many", "may", "me", "much", "my", "of", "on", "or"}
    | {"our", "so", "that", "the", "their", "them", "then", "there", "they", "this", "to", "was", "we", "what", "when"}
    | {"where", "which", "who", "whom", "whose", "why", "will", "with", "would", "you", "your"}
)
_SUFFIXES = ("ations", "ation", "ings", "ing", "ies", "ied", "ers", "er", "es", "ed", "ly", "s", "e", "y")


def token_count(text: str) -> int:
    """Return how many tokens a text is: pieces of words, punctuation on its own, much as byte-pair codes do."""
    return len(_TOKEN.findall(text))


def pieces(text: str) -> list[str]:
    """Cut a text into the pieces that a stream sends, one word with its leading space each."""
    return re.findall(r"\s*\S+", text)


def sentences(text: str) -> list[str]:
    """Return the sentences of a text; headings and blank lines separate too."""
    found = []
    for block in re.split(r"\n+", text):
        found += [part.strip() for part in _SENTENCE_END.split(block.strip()) if part.strip()]
    return found


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """Return a word without its inflection, crudely: enough to match `costs` with `cost`."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word[: -len(suffix)]
    return word


def stems(text: str) -> list[str]:
    """Return the stems of the words that carry meaning, in order."""
    return [stem(word) for word in (match.lower() for match in _WORD.findall(text)) if word not in _STOP_WORDS]


def embedding(text: str) -> list[float]:
    """Return a unit vector: each stem adds to one hashed dimension, so texts on the same things point the same way."""
    vector = [0.0] * EMBEDDING_DIMENSIONS
    for found in stems(text):
        digest = int.from_bytes(blake2b(found.encode(), digest_size=4).digest(), "big")
        vector[digest % EMBEDDING_DIMENSIONS] += 1.0 if digest & 0x80000000 else -1.0
    length = sqrt(sum(value * value for value in vector))
    if length == 0.0:
        vector[0] = length = 1.0
    return [value / length for value in vector]
