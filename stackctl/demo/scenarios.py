"""The scenarios of the demo, as rows: what the simulated endpoint and the application's users do differently."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from stackctl.demo.model import Behaviour
from stackctl.errors import Misuse

_USUAL = Behaviour()


@dataclass(frozen=True)
class Scenario:
    """One kind of traffic.

    Attributes:
        name: as `--scenario` takes it.
        about: one line for `--list`.
        behaviour: how the endpoint behaves; its seed is replaced by the run's.
        models: model and weight of the sessions that use it.
        without_usage: share of sessions whose client does not ask for usage on streams.
        unstreamed: share of sessions whose client does not stream.
        passages: how many passages a retrieval returns; few make answers worse.
    """

    name: str
    about: str
    behaviour: Behaviour = _USUAL
    models: tuple[tuple[str, int], ...] = (
        ("gpt-4o-mini", 8),
        ("gpt-4.1", 4),
        ("gpt-4.1-mini", 3),
        ("o4-mini", 3),
        ("acme-reasoner-1", 2),
    )
    without_usage: float = 0.08
    unstreamed: float = 0.1
    passages: int = 4

    def seeded(self, seed: int) -> Behaviour:
        """Return the endpoint's behaviour for a seed."""
        return replace(self.behaviour, seed=seed)


SCENARIOS: Mapping[str, Scenario] = {
    row.name: row
    for row in (
        Scenario("default", "several models, a few errors and retries, some answers beside the documents"),
        Scenario(
            "errors",
            "one call in three fails: rate limits, server errors, streams that break",
            replace(_USUAL, rate_limited=0.12, retried=0.08, server_error=0.08, broken_stream=0.10),
        ),
        Scenario("slow", "first tokens take four times as long, as on a cold model", replace(_USUAL, slowness=4.0)),
        Scenario(
            "hallucinations",
            "two passages a question, and every second answer has a claim that they do not support",
            replace(_USUAL, hallucination_rate=0.5),
            passages=2,
        ),
        Scenario("unpriced", "a model that no price book knows", models=(("acme-reasoner-1", 1),)),
        Scenario(
            "no-usage", "streams whose client does not ask for usage: tokens and cost are unknown", without_usage=1.0
        ),
        Scenario(
            "calm",
            "no errors, no invented answers, usage everywhere",
            Behaviour(hallucination_rate=0, rate_limited=0, retried=0, server_error=0, broken_stream=0),
            models=(("gpt-4o-mini", 2), ("gpt-4.1", 1)),
            without_usage=0.0,
        ),
    )
}


def scenario(name: str) -> Scenario:
    """Return a scenario by name.

    Raises:
        Misuse: there is none of that name.
    """
    if name not in SCENARIOS:
        raise Misuse(
            f"there is no scenario {name!r}; there are {', '.join(SCENARIOS)}",
            next_step="see what each does: stackctl demo --list",
        )
    return SCENARIOS[name]
