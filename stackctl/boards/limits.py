"""What is good, worth a look and bad, as rows with their reason. Panels colour by them and alert rules fire at them."""

from dataclasses import dataclass
from typing import Any, Final

GOOD, LOOK, BAD, NEUTRAL = "green", "orange", "red", "text"


@dataclass(frozen=True)
class Limit:
    """Two bounds of one measure.

    Attributes:
        look: from here on it is worth a look, in the measure's own unit.
        bad: from here on it is bad. Below `look` where small values are the bad ones.
        why: where the two numbers come from.
    """

    look: float
    bad: float
    why: str

    def steps(self) -> list[dict[str, Any]]:
        """Return Grafana's threshold steps; the first one's value stands for minus infinity."""
        if self.bad < self.look:
            return [_step(BAD, 0), _step(LOOK, self.bad), _step(GOOD, self.look)]
        return [_step(GOOD, 0), _step(LOOK, self.look), _step(BAD, self.bad)]


def _step(color: str, value: float) -> dict[str, Any]:
    return {"color": color, "value": value}


# A number without good or bad stays uncoloured: colour means something on these boards.
NO_LIMIT: Final = [_step(NEUTRAL, 0)]

FIRST_TOKEN: Final = Limit(
    1.0, 3.0, "Seconds. After 1 s a reader's flow of thought breaks (Nielsen, Response Times, 1993); 3 s is our choice."
)
REQUEST: Final = Limit(
    10.0, 30.0, "Seconds to the last token. 10 s is the limit of attention (Nielsen, 1993); 30 s is our choice."
)
OUTPUT_RATE: Final = Limit(
    15.0,
    6.0,
    "Tokens/s. People read 238 words a minute (Brysbaert, 2019), about 5.3 tokens/s: below 6 the reader waits.",
)
ERROR_SHARE: Final = Limit(0.01, 0.05, "Share of calls. Objectives of 99 % and 95 %; our choice, change it to yours.")
HALLUCINATION_SHARE: Final = Limit(0.05, 0.15, "Share of judged answers. Our choice, change it to yours.")
UNCOSTED_SHARE: Final = Limit(0.001, 0.05, "Share of calls without a known cost. Any makes the sum a lower bound.")
CONTEXT_SHARE: Final = Limit(0.7, 0.9, "Share of the model's window. Our choice: room for an answer must be left.")
BUDGET_SHARE: Final = Limit(0.8, 1.0, "Share of the monthly budget at the pace of the time range shown.")
SCORE: Final = Limit(0.8, 0.6, "Mean score from 0 to 1. Our choice, change it to your judge.")
PROMPT_SHARE: Final = Limit(
    0.95, 0.8, "Share of first tokens within 1 s. Our choice: the same objective as FIRST_TOKEN.look at p95."
)
RETRIEVAL: Final = Limit(0.3, 1.0, "Seconds. Retrieval is paid before the first token, whose limit is 1 s.")
