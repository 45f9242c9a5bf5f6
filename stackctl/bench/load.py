"""The load generator, a process of its own: `python -m stackctl.bench.load TARGET SECONDS RATE SEED [ACKED_FILE]`.

Sends unique trace requests over gRPC, at a rate or as fast as they are taken, and writes what it saw as JSON on stdout.
With ACKED_FILE it is the sender of the kill test: what got no answer is sent again until it is acknowledged, and the
number of every acknowledged request goes to that file.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

import orjson

from stackctl.bench.calls import GrpcSender
from stackctl.bench.requests import CALLS_PER_REQUEST, SPANS_PER_REQUEST, RequestSource

IN_FLIGHT: Final = 24
_RETRY_SECONDS: Final = 0.05


@dataclass(frozen=True)
class LoadResult:
    """What a load generator saw.

    Attributes:
        acked_spans: spans of acknowledged requests.
        acked_calls: accounted calls among them.
        refused: answers that were no acknowledgement, by gRPC status or reason.
        seconds: wall time from the first send to the last answer.
        ack_seconds: latency of acknowledged requests, 50th and 99th percentile and maximum.
        late_seconds: how far behind its schedule the generator ended; 0 without a rate.
        cpu_cores: processor time it used by wall time.
    """

    acked_spans: int
    acked_calls: int
    refused: dict[str, int]
    seconds: float
    ack_seconds: dict[str, float]
    late_seconds: float
    cpu_cores: float


class LoadGenerator:
    """Sends requests until its time is over.

    Args:
        target: host:port.
        seconds: how long requests are started.
        rate: spans a second; 0 for as fast as they are taken.
        seed: of the requests.
        acked: gets the numbers of acknowledged requests; senders then never give up.
    """

    def __init__(self, target: str, seconds: float, rate: float, seed: int, acked: IO[str] | None = None) -> None:
        self._target, self._seconds, self._rate, self._acked = target, seconds, rate, acked
        self._source = RequestSource(seed)
        self._next = 0
        self._latencies: list[float] = []
        self._refused: dict[str, int] = {}
        self._late = 0.0
        self._began = 0.0

    async def run(self) -> LoadResult:
        """Send and return what was seen."""
        self._source.make(0)  # templates are built before the clock starts
        sender = GrpcSender(self._target)
        self._began = time.monotonic()
        cpu = time.process_time()
        await asyncio.gather(*(self._send(sender) for _ in range(IN_FLIGHT)))
        seconds = time.monotonic() - self._began
        return LoadResult(
            len(self._latencies) * SPANS_PER_REQUEST,
            len(self._latencies) * CALLS_PER_REQUEST,
            self._refused,
            seconds,
            percentiles(self._latencies),
            self._late,
            (time.process_time() - cpu) / seconds,
        )

    async def _send(self, sender: GrpcSender) -> None:
        while (number := await self._take_turn()) is not None:
            body = self._source.lend(number)
            if await self._attempt(sender, number, body.data):
                self._source.give_back(number, body)  # of one that was not answered, something may still be on its way
                continue
            while self._acked is not None:
                await asyncio.sleep(_RETRY_SECONDS)
                if await self._attempt(sender, number, body.data):
                    break

    async def _take_turn(self) -> int | None:
        """The number of the next request when its time has come; None when time is over."""
        number = self._next
        self._next += 1
        elapsed = time.monotonic() - self._began
        due = number * SPANS_PER_REQUEST / self._rate if self._rate else elapsed
        if max(due, elapsed if self._acked is not None or not self._rate else 0) >= self._seconds:
            return None
        if due > elapsed:
            await asyncio.sleep(due - elapsed)
        elif self._rate:
            self._late = elapsed - due
        return number

    async def _attempt(self, sender: GrpcSender, number: int, body: memoryview) -> bool:
        began = time.perf_counter()
        try:
            await sender.call(body)
        except OSError as error:
            why = str(error) or type(error).__name__
            self._refused[why] = self._refused.get(why, 0) + 1
            return False
        self._latencies.append(time.perf_counter() - began)
        if self._acked is not None:
            self._acked.write(f"{number}\n")
            self._acked.flush()
        return True


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """`p50`, `p99` and `max` of some values; empty for none."""
    found = sorted(values)
    if not found:
        return {}
    return {"p50": found[len(found) // 2], "p99": found[int(len(found) * 0.99)], "max": found[-1]}


def main(arguments: Sequence[str]) -> int:
    """Run the generator; return its exit code."""
    import uvloop

    target, seconds, rate, seed, *rest = arguments
    with Path(rest[0]).open("a") if rest else nullcontext() as acked:
        result = uvloop.run(LoadGenerator(target, float(seconds), float(rate), int(seed), acked).run())
    sys.stdout.write(orjson.dumps(asdict(result)).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
