"""A stack with a demo's traffic, and a browser that reports everything it did not like."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from stackctl.errors import EnvironmentLacks
from stackctl.runtime.browser import FLAGS, chromium
from tests import absent
from tests.conftest import run_stackctl

SEED = 7
# Chromium drops what is under way when a network comes or goes, such as one of Docker's; the page then asks again.
_OF_THE_MACHINE = ("ERR_NETWORK_CHANGED",)


@dataclass(frozen=True)
class Seeded:
    """A running stack and what the demo says it sent.

    Attributes:
        url: the console's address.
        demo: the demo's own report.
    """

    url: str
    endpoints: dict[str, str]
    demo: dict[str, Any]
    data_dir: Path


@dataclass
class Watched:
    """A page, and what a page should never do."""

    page: Any
    base: str
    problems: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    allowed: tuple[str, ...] = ()

    def open(self, address: str, drawn: bool = True) -> Any:
        """Go to an address of the console and wait until its panels are drawn."""
        self.page.goto(self.base + address)
        if drawn:
            self.drawn()
        return self.page

    def drawn(self) -> None:
        """Scroll through the page until every panel has drawn or failed."""
        self.until("() => document.querySelector('.panel, .card, .empty-stack')")
        for panel in self.page.query_selector_all(".panel"):
            panel.scroll_into_view_if_needed()
        self.until("() => [...document.querySelectorAll('.panel')].every((one) => one.dataset.state)")

    def until(self, condition: str, seconds: float = 40) -> Any:
        """Wait until a function of the page gives something; the page's policy forbids what wait_for_function does."""
        deadline = time.monotonic() + seconds
        while not (found := self.page.evaluate(condition)):
            assert time.monotonic() < deadline, f"never came true: {condition}"
            time.sleep(0.03)
        return found

    def plot(self, title: str) -> dict[str, float]:
        """Where the chart of a panel stands in the window, after bringing it there."""
        over = self.panel(title).locator(".u-over")
        over.scroll_into_view_if_needed()
        found: dict[str, float] = over.bounding_box()
        return found

    def panel(self, title: str) -> Any:
        """The card of the panel with a title."""
        return self.page.locator(f'.panel[data-title="{title}"]')


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    """A stack of its own with the traffic of one demo, prompts kept."""
    home = tmp_path_factory.mktemp("console")
    data_dir = home / "data"
    where = ("--data-dir", data_dir)
    flags = ("--runtime", "embedded", "--ports", "auto", "--capture-content", "--json")
    started = run_stackctl("up", *flags, *where, home=home)
    assert started.code == 0, started.stderr
    try:
        demo = run_stackctl("demo", "--json", "--seed", str(SEED), *where, home=home)
        assert demo.code == 0, demo.stderr
        endpoints = started.json()["endpoints"]
        yield Seeded(endpoints["console"], endpoints, demo.json(), data_dir)
    finally:
        run_stackctl("down", "--delete-data", *where, home=home)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium, driven by Playwright.

    Not for the session: Playwright keeps an event loop running in the thread, and other tests start their own.
    """
    try:
        path = chromium()
    except EnvironmentLacks:
        absent.skip("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture
def watched(browser: Any, seeded: Seeded) -> Iterator[Watched]:
    """A page over the seeded stack; at its end it has no console error, no failed request, and never left loopback."""
    yield from watch(browser, seeded.url)


@pytest.fixture
def watch_page(browser: Any) -> Iterator[Callable[[str], Watched]]:
    """Open a watched page over another console: `watch_page(url)`."""
    opened: list[Iterator[Watched]] = []

    def start(url: str) -> Watched:
        watching = watch(browser, url)
        opened.append(watching)
        return next(watching)

    yield start
    for watching in opened:
        next(watching, None)


def watch(browser: Any, url: str) -> Iterator[Watched]:
    """Yield a page of a fresh context and judge at its end what it did."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    found = Watched(context.new_page(), url)
    page = found.page
    page.on("console", lambda message: _note(found, message.type, message.text))
    page.on("pageerror", lambda error: found.problems.append(f"exception: {error}"))
    page.on("request", lambda request: found.hosts.add(urlsplit(request.url).hostname or ""))
    page.on("requestfailed", lambda request: _failure(found, request))
    yield found
    page.wait_for_timeout(50)  # what was on its way is still heard
    context.close()
    assert found.problems == []
    assert found.hosts <= {"127.0.0.1", ""}


def _note(found: Watched, kind: str, text: str) -> None:
    if kind in ("error", "warning") and not any(one in text for one in (*found.allowed, *_OF_THE_MACHINE)):
        found.problems.append(f"{kind}: {text}")


def _failure(found: Watched, request: Any) -> None:
    # A query that the page itself gave up is what should happen.
    if not any(one in (request.failure or "") for one in ("ERR_ABORTED", *found.allowed, *_OF_THE_MACHINE)):
        found.problems.append(f"failed: {request.url} {request.failure}")
