"""The visitors: sessions of several questions, drawn from a seed, at a rate or as fast as a few at a time go."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from uuid import uuid4

from stackctl.demo.job import Load
from stackctl.demo.model import dice_for
from stackctl.demo.questions import CONVERSATIONS
from stackctl.demo.rag import Answer, Application, Session
from stackctl.demo.scenarios import Scenario

_USERS = 12


@dataclass(frozen=True)
class Visit:
    """One session and what will be asked in it."""

    session: Session
    questions: tuple[str, ...]


def visits(seed: int, scenario: Scenario, model: str | None = None) -> Iterator[Visit]:
    """Yield visitors without end; the n-th is the same for the same seed, but for its conversation id.

    Args:
        model: the one model every visitor uses; the scenario's mix if None.
    """
    names = [name for name, weight in scenario.models for _ in range(weight)]
    for number in count():
        dice = dice_for(seed, "visit", str(number))
        questions = CONVERSATIONS[dice.randrange(len(CONVERSATIONS))]
        session = Session(
            conversation_id=uuid4().hex,
            user_id=f"visitor-{dice.randrange(_USERS):02}",
            model=model or dice.choice(names),
            stream=dice.random() >= scenario.unstreamed,
            ask_usage=dice.random() >= scenario.without_usage,
        )
        yield Visit(session, questions[: dice.randint(1, len(questions))])


def limited(source: Iterator[Visit], requests: int | None) -> Iterator[Visit]:
    """Yield visits until they hold so many questions; the last is cut short."""
    left = requests
    for visit in source:
        if left is None:
            yield visit
            continue
        if left <= 0:
            return
        yield Visit(visit.session, visit.questions[:left])
        left -= len(visit.questions)


class Pacer:
    """Lets questions start no faster than a rate, and none after a deadline.

    Args:
        rate: starts each second; None for any.
        deadline: on the monotonic clock; None for none.
    """

    def __init__(self, rate: float | None, deadline: float | None) -> None:
        self._interval = 1.0 / rate if rate else 0.0
        self._deadline = deadline
        self._lock = threading.Lock()
        self._next = time.monotonic()

    def start(self) -> bool:
        """Wait for a turn; False when the time is over."""
        with self._lock:
            due = self._next = max(self._next, time.monotonic() - self._interval)
            self._next += self._interval
        if self._deadline is not None and max(due, time.monotonic()) >= self._deadline:
            return False
        time.sleep(max(0.0, due - time.monotonic()))
        return True


def run(
    application: Application, source: Iterator[Visit], load: Load, answered: Callable[[Answer], None]
) -> list[Answer]:
    """Send the traffic and return every answer.

    Args:
        source: the visits, as many as wanted; read under a lock.
        answered: told of each answer, from the visitors' threads.
    """
    deadline = None if load.duration_seconds is None else time.monotonic() + load.duration_seconds
    pacer = Pacer(load.rate, deadline)
    answers: list[Answer] = []
    lock = threading.Lock()

    def visitor() -> None:
        while True:
            with lock:
                visit = next(source, None)
            if visit is None:
                return
            for question in visit.questions:
                if not pacer.start():
                    return
                answer = application.answer(visit.session, question)
                with lock:
                    answers.append(answer)
                answered(answer)

    with ThreadPoolExecutor(load.concurrency, "visitor") as threads:
        for finished in [threads.submit(visitor) for _ in range(load.concurrency)]:
            finished.result()
    return answers
