"""Recorded samples on disk."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from stackctl.embedded.series.family import Family, label_set
from stackctl.embedded.series.head import Head, Pace
from stackctl.embedded.series.points import Points
from stackctl.embedded.series.reader import SampleReader
from stackctl.embedded.store.grain import grain_ms
from stackctl.embedded.store.layout import lock_writer
from stackctl.promql import Labels
from stackctl.promql.values import NAME, drop

from .alerts import Sample
from .storage import BothStorages


class Recorded:
    """The sample log of the rules: written by the one query process of a data directory.

    Args:
        data_dir: the stack's data directory; everything lies below `rules/`.
        ingested: the other samples.
        clock_ms: unix milliseconds.
        retention_seconds: how long samples are kept, by which files are as fine as they need to be.

    Raises:
        StoreUnusable: the directory cannot be used, or another process writes there.

    Attributes:
        storage: these samples and the ingested ones.
    """

    def __init__(
        self, data_dir: Path, ingested: SampleReader, clock_ms: Callable[[], int], retention_seconds: int
    ) -> None:
        root = data_dir / "rules"
        self._lock = lock_writer(root)
        self._head = Head(root, pace=Pace.within(grain_ms(retention_seconds)), clock_ms=clock_ms)
        self.storage = BothStorages(ingested, SampleReader(root))

    def append(self, samples: Sequence[Sample], ended: Sequence[Labels], at_ms: int) -> None:
        """Store a rule's samples, durable on return.

        Args:
            ended: labels of series that are no more.
            at_ms: their time, unix milliseconds.

        Raises:
            StoreUnusable: the disk refused; nothing is stored.
        """
        points = [Points(_family(one.labels), (one.value,)) for one in samples]
        points += [Points(_family(labels), (), ended=True) for labels in ended]
        if points:
            self._head.append(points, at_ms)

    def maintain(self, keep_from_ms: int, most_bytes: int) -> None:
        """Begin the next file when it is time, seal closed ones, forget what is too old or too much.

        Raises:
            StoreUnusable, OSError: the disk refused; the next call goes on.
        """
        self._head.beat()
        self._head.seal_closed()
        self._head.forget(keep_from_ms, most_bytes)

    def close(self) -> None:
        """Close the log and let go of the lock. What was appended is on disk already."""
        self._head.close()
        os.close(self._lock)


def _family(labels: Labels) -> Family:
    return Family(labels[NAME], "gauge", label_set(drop(labels, (NAME,))))
