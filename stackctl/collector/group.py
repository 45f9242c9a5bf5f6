"""Groups of statements, and their spelling in a transform processor's configuration."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stackctl.collector.ottl import Line


@dataclass(frozen=True)
class Group:
    """Statements that run one after the other over each span (event, scope, resource, point).

    Attributes:
        why: what stands above them in the file.
        lines: the statements.
        context: the statements' OTTL context.
        conditions: the group runs where one of them holds; everywhere when there are none.
    """

    why: str
    lines: Sequence[Line] = field(default_factory=list)
    context: str = "span"
    conditions: Sequence[str] = field(default_factory=list)


def quoted(text: str) -> str:
    """Return text as YAML, with `$` as the Collector wants it where no file is meant."""
    return "'" + text.replace("$", "$$").replace("$${file:", "${file:").replace("'", "''") + "'"


def listed(groups: Iterable[Group], indent: int) -> str:
    """Return groups as items of a YAML list."""
    return "".join(line + "\n" for group in groups for line in _lines(group, " " * indent))


def _lines(group: Group, pad: str) -> Iterable[str]:
    yield f"{pad}# {group.why}"
    yield f"{pad}- context: {group.context}"
    if group.conditions:
        yield f"{pad}  conditions:"
        yield from (f"{pad}    - {quoted(condition)}" for condition in group.conditions)
    yield f"{pad}  statements:"
    for line in group.lines:
        if line.why:
            yield f"{pad}    # {line.why}"
        if line.statement:
            yield f"{pad}    - {quoted(line.statement)}"
