"""A data directory of samples for the tests of their readers: made by the head that ingest has."""

from pathlib import Path

import numpy as np

from stackctl.embedded.series.family import Family
from stackctl.embedded.series.head import Head, Pace
from stackctl.embedded.series.increments import EXEMPLAR, Block, Increments
from stackctl.embedded.series.points import Points
from stackctl.promql import Matcher

START = 1_700_000_000_000


END = START + 300_000


EVERYTHING = (Matcher("__name__", "=~", ".+"),)


def fill(data_dir: Path, seal_at: int | None = None) -> None:
    """Five minutes of two services' calls, durations and one gauge of odd values.

    Args:
        seal_at: after so many ticks the log so far becomes a block.
    """
    now = [START]
    head = Head(data_dir, clock_ms=lambda: now[0], pace=Pace(roll_ms=2**60))
    head.start()
    odd = [0.1, 1e-7, 1e21, 123456789.125, float("inf"), -0.0, float("nan"), 1.5e-5, 3e20, -1e-9]
    for tick in range(20):
        for service in ("shop", "search"):
            labels = (("job", service), ("service_name", service))
            trace = np.array([(tick % 3, 0.05, 1, tick, now[0])], EXEMPLAR)
            count = Block("llm_requests_total", "counter", (), (labels,), np.array([[tick + 1.0]]))
            wait = Block(
                "llm_request_duration_seconds",
                "histogram",
                (0.1, 1.0),
                (labels,),
                np.array([[1.0, tick, 2.0, 3.5]]),
                trace,
            )
            head.apply(Increments.of(now[0] + 5, [count, wait]), head.applied_seq + 1)
        gauge = Family("odd_value", "gauge", (("job", "shop"), ("quote", 'a"b\\c')))
        head.append([Points(gauge, (odd[tick % len(odd)],))], now[0] + 7)
        now[0] += 15_000
        head.beat()
        if tick == seal_at:
            head._roll(now[0])
            head.seal_closed()
    head.close()
