"""Who asks what, when: the same for the same seed, and no faster than told."""

import time
from itertools import islice

import pytest

from stackctl.demo.scenarios import SCENARIOS, scenario
from stackctl.demo.traffic import Pacer, Visit, limited, visits
from stackctl.errors import Misuse


def drawn(seed: int) -> list[tuple]:
    found = islice(visits(seed, scenario("default")), 50)
    return [(v.session.user_id, v.session.model, v.session.stream, v.session.ask_usage, v.questions) for v in found]


def test_the_seed_decides_the_visitors():
    """Two draws of one seed are equal in all but conversation ids; another seed differs."""
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_traffic_has_the_variety_that_panels_need():
    """Among fifty visitors are several models, one that no price book knows, long sessions and both kinds of client."""
    models = {model for _, model, *_ in drawn(1)}
    assert models >= {"gpt-4o-mini", "gpt-4.1", "o4-mini", "acme-reasoner-1"}
    assert {stream for _, _, stream, *_ in drawn(1)} == {True, False}
    assert {asked for *_, asked, _ in drawn(1)} == {True, False}
    assert max(len(questions) for *_, questions in drawn(1)) >= 3


@pytest.mark.parametrize("requests", [1, 7, 40])
def test_exactly_as_many_questions_as_asked_for(requests):
    """The last visit is cut short so that the number comes out."""
    found: list[Visit] = list(limited(visits(3, scenario("default")), requests))
    assert sum(len(visit.questions) for visit in found) == requests


def test_a_rate_spaces_the_starts():
    """At 50 a second, six starts take a tenth of a second or more."""
    pacer, started = Pacer(50.0, None), time.monotonic()
    assert all(pacer.start() for _ in range(6))
    assert time.monotonic() - started >= 0.1 - 0.02


def test_nothing_starts_after_the_deadline():
    """When the time is over, a visitor is told so."""
    assert not Pacer(None, time.monotonic() - 1).start()


def test_every_scenario_says_what_it_is():
    """Names are the keys, and an unknown one is refused with the list."""
    assert all(name == row.name and row.about for name, row in SCENARIOS.items())
    with pytest.raises(Misuse, match=r"no scenario 'storm'.*default"):
        scenario("storm")
