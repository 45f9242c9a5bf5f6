"""Pieces of generated queries, by chance that follows from a seed; `promql_features` makes whole ones of them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from stackctl.bench.promql_series import LENGTH_MS, START_MS

COUNTERS = ("requests_total", "cost_usd_total", "latency_seconds_count", "latency_seconds_sum")
GAUGES = ("temperature", "memory_bytes", "level", "up")
NAMED_AS_WORDS = ("anchored", "smoothed", "fill")
RANGES = ("1m", "2m", "5m", "7m30s", "20m")
JOINED = ("job", "instance")


@dataclass
class Writer:
    """Writes pieces of queries by chance."""

    rng: random.Random

    def pick(self, choices: Sequence[str]) -> str:
        """Return one of some texts."""
        return self.rng.choice(choices)

    def matchers(self) -> str:
        """Return a label part, mostly none."""
        return self.pick(
            ("",) * 4
            + ('{job="api"}', '{job!="db"}', '{instance=~"a.*|b.*"}', '{instance!~"a.*"}', '{job=~".+",instance="b:2"}')
        )

    def times(self) -> str:
        """Return offset and @ modifiers, mostly none."""
        moment = (START_MS + self.rng.randrange(LENGTH_MS)) / 1000
        return self.pick(
            ("",) * 8 + (" offset 3m", " offset -90s", f" @ {moment:.3f}", " @ start()", " @ end() offset 1m")
        )

    def selector(self, names: Sequence[str] = COUNTERS + GAUGES) -> str:
        """Return an instant selector."""
        return self.pick(names) + self.matchers() + self.times()

    def ranged(self, names: Sequence[str] = COUNTERS + GAUGES) -> str:
        """Return a range selector, now and then a subquery."""
        if self.rng.random() < 0.15:
            inner = self.pick((self.pick(names), f"rate({self.pick(COUNTERS)}[2m])", f"(-{self.pick(names)})"))
            return f"{inner}[{self.pick(('6m', '20m'))}:{self.pick(('', '30s', '1m', '47s'))}]{self.times()}"
        return f"{self.pick(names)}{self.matchers()}[{self.pick(RANGES)}]{self.times()}"

    def vector(self) -> str:
        """Return an instant vector expression."""
        return self.pick(
            (
                self.selector(),
                self.selector(),
                f"rate({self.pick(COUNTERS)}{self.matchers()}[{self.pick(RANGES)}])",
                f"sum by (job) ({self.selector()})",
                f"avg_over_time({self.pick(GAUGES)}[{self.pick(RANGES)}])",
                f"abs({self.pick(GAUGES)})",
            )
        )

    def distinct(self) -> str:
        """Return an instant vector whose values differ: among equal ones topk chooses by chance, the real one too."""
        return self.pick(
            (
                f"temperature{self.matchers()}",
                f"memory_bytes{self.times()}",
                "rate(cost_usd_total[5m])",
                "temperature / 3",
            )
        )

    def scalar(self) -> str:
        """Return a scalar expression."""
        return self.pick(("2", "0.5", "-1.5", "1e3", "time()", "scalar(sum(up))", "pi()", "(3 - 1) * 2"))

    def duration(self) -> str:
        """Return a duration expression of one to twenty minutes, whatever the query's step and range are."""
        terms = ("1m", "90", "5m", "2m30s", "min_of(4m, range() + 1m)", "max_of(1m, step())", "(3m - 1m)", "-1m + 3m")
        return self.pick(
            (
                f"{self.pick(terms)} + {self.pick(terms)}",
                f"{self.pick(terms)} * {self.pick(('1.5', '2', '2 ^ 1'))}",
                f"max_of({self.pick(terms)}, {self.pick(terms)})",
                f"min_of({self.pick(terms)}, {self.pick(('step() + 1m', '7m'))})",
                f"20m / {self.pick(('2', '3', '(1 + 1)'))} % 15m",
                f"1m + (step() + range()) / {self.pick(('7', '3'))}",
            )
        )

    def labels(self) -> str:
        """Return a list of labels."""
        return self.pick(("job", "instance", "job, instance", "code", "", "route, job"))
