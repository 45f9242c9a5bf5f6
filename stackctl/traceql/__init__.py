"""The TraceQL language: text to a checked syntax tree. Running it is the engine's part (`stackctl.embedded.traces`)."""

from stackctl.traceql import ast
from stackctl.traceql.check import check, kind_of, mentions
from stackctl.traceql.parse import children, invalid, parse

__all__ = ["ast", "check", "children", "compile_query", "invalid", "kind_of", "mentions", "parse"]


def compile_query(text: str) -> ast.Query:
    """Parse a query and check the types in it.

    Raises:
        QueryInvalid: the text is not TraceQL, or compares what cannot be compared.
    """
    query = parse(text)
    check(query, text)
    return query
