"""Reading every span of a window through a real Tempo API, a page at a time."""

from collections.abc import Iterator

import pytest
from span_store import BASE_NS, Given, served, span_hex, write_store

from stackctl.clients import TempoClient
from stackctl.clients.paging import every_span
from stackctl.embedded.api.tempo import app
from stackctl.errors import QueryUnsupported
from stackctl.stack import EngineConfig

START = BASE_NS // 10**9
QUERY = '{ name = "call" } | select(span.n)'
# A trace every 400 ms, its two calls 900 ms apart: most traces touch two seconds, so two slices find them.
SPANS = [
    Given(trace, 10 * trace + place, 0, "call", trace * 400 + place * 900, 1, attributes={"n": 10 * trace + place})
    for trace in range(1, 41)
    for place in (0, 1)
]


@pytest.fixture(scope="module")
def tempo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TempoClient]:
    data_dir = tmp_path_factory.mktemp("paging")
    write_store(data_dir, sealed=SPANS[:30], hot=SPANS[30:])
    with served(app(EngineConfig(str(data_dir)))) as url, TempoClient(url) as client:
        yield client


@pytest.mark.parametrize(("page", "expected"), [(10_000, 0), (6, 0), (6, 12_000), (10_000, 40_000)])
def test_every_span_comes_once(tempo: TempoClient, page: int, expected: int) -> None:
    """However the window is cut, each span is there once, though its trace is found in several slices."""
    shares: list[float] = []
    found = every_span(tempo, QUERY, START, START + 60, expected, shares.append, page)
    assert sorted(span.attributes["n"] for span in found) == sorted(given.span for given in SPANS)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)


def test_a_window_holds_what_starts_in_it(tempo: TempoClient) -> None:
    """The window is exact to the nanosecond's neighbourhood: start inclusive, end exclusive, fractions too."""
    found = {span.span_id for span in every_span(tempo, QUERY, START + 4.0, START + 6.5)}
    assert found == {span_hex(given.span) for given in SPANS if 4000 <= given.start_ms < 6500}


def test_a_second_with_more_traces_than_a_page_is_refused(tempo: TempoClient) -> None:
    """What cannot be read whole is refused by name, never answered in part."""
    with pytest.raises(QueryUnsupported, match="2 traces or more in the one second"):
        list(every_span(tempo, QUERY, START, START + 60, page=2))
