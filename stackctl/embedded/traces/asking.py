"""Ids, asked of the filters of all segments at once."""

from collections.abc import Sequence

from stackctl.embedded.traces.bloom import FilterIndex
from stackctl.embedded.traces.segments import Segment, probe


class Asking:
    """The filters of some segments, which then know the answer when they are asked one by one.

    Args:
        segments: of a snapshot.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        self._indexes: dict[str, tuple[Sequence[Segment], FilterIndex | None]] = {}

    def ask(self, column: str, value: int | str) -> None:
        """Look for a value in a column of ids."""
        segments, index = self._index(column)
        if index is not None:
            for segment, found in zip(segments, index.which(probe(value)), strict=True):
                groups = segment.columns[column].groups
                segment.note(column, value, [groups[number] for number in found])

    def _index(self, column: str) -> tuple[Sequence[Segment], FilterIndex | None]:
        found = self._indexes.get(column)
        if found is None:
            facts = [(segment, segment.columns.get(column)) for segment in self._segments]
            pairs = [(segment, one.filters) for segment, one in facts if one is not None and one.filters is not None]
            index = FilterIndex([filters for _, filters in pairs]) if pairs else None
            found = self._indexes[column] = ([segment for segment, _ in pairs], index)
        return found
