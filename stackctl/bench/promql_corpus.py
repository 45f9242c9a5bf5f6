"""Generated queries: all features in turn, so that each is used equally often. Everything follows from a seed."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stackctl.bench.promql_features import FEATURES, Feature
from stackctl.bench.promql_series import LENGTH_MS, START_MS
from stackctl.bench.promql_writer import Writer


@dataclass(frozen=True)
class Query:
    """A query to compare: an instant one when `end_ms` is None. Times in milliseconds."""

    feature: str
    text: str
    start_ms: int
    end_ms: int | None = None
    step_ms: int = 0


def queries(seed: int, count: int, features: Sequence[Feature] = FEATURES) -> Iterator[Query]:
    """Yield queries; two of three over a range, the others at one moment."""
    writer = Writer(random.Random(seed))
    for number in range(count):
        name, write = features[number % len(features)]
        text = write(writer)
        start = START_MS + writer.rng.randrange(10 * 60_000, LENGTH_MS)
        if name == "samples" or writer.rng.random() < 0.33:
            yield Query(name, text, start)
        else:
            start -= writer.rng.randrange(0, 20 * 60_000)
            step = writer.rng.choice((15_000, 30_000, 60_000, 47_123))
            yield Query(name, text, start, start + step * writer.rng.randrange(0, 25), step)
