"""What the application is told to do and what it tells afterwards, as they cross between two processes."""

from dataclasses import dataclass
from typing import Any

import orjson

from stackctl.demo.calls import Call
from stackctl.evals import Result


@dataclass(frozen=True)
class Load:
    """How much traffic.

    Attributes:
        requests: so many questions; None to go on until the duration is over.
        duration_seconds: no question starts later than this; None for no limit.
        rate: questions started each second at most; None as fast as the concurrency lets them.
        concurrency: so many visitors at a time.
    """

    requests: int | None = 40
    duration_seconds: float | None = None
    rate: float | None = None
    concurrency: int = 8


@dataclass(frozen=True)
class Job:
    """What the application is to do.

    Attributes:
        port: of the simulator; None for a real endpoint.
        base_url, api_key, model, embedding_model: of a real endpoint; None with the simulator.
    """

    seed: int
    scenario: str
    load: Load
    port: int | None = None
    base_url: str | None = None
    api_key: str | None = None
    model: str | None = None
    embedding_model: str | None = None

    @classmethod
    def read(cls, text: bytes) -> "Job":
        """Read the JSON of a job."""
        raw = orjson.loads(text)
        return cls(**raw | {"load": Load(**raw["load"])})


@dataclass(frozen=True)
class Outcome:
    """What the application did.

    Attributes:
        flushed: everything was handed to the stack; False when an exporter gave up.
    """

    trace_ids: tuple[str, ...]
    calls: tuple[Call, ...]
    results: tuple[Result, ...]
    degraded: int
    flushed: bool

    @classmethod
    def read(cls, raw: dict[str, Any]) -> "Outcome":
        """Read the JSON of an outcome."""
        return cls(
            trace_ids=tuple(raw["trace_ids"]),
            calls=tuple(Call(**row) for row in raw["calls"]),
            results=tuple(Result(**row) for row in raw["results"]),
            degraded=raw["degraded"],
            flushed=raw["flushed"],
        )
