"""`stackctl prices` as a person runs it, against no stack and against a real one."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from span_store import BASE_NS, Given, otlp_request

from stackctl import semconv
from stackctl.genai.prices import COLUMNS
from tests.conftest import Finished, run_stackctl

HEAD = "# source: hand 1\n# date: 2026-01-01\n" + ",".join(COLUMNS) + "\n"
OLD_BOOK = HEAD + "openai,gpt-a,1,0.5,,2,,1000\nopenai,gpt-b,10,,,20,,\n"
NEW_BOOK = HEAD + "openai,gpt-a,0.3,0.1,,2,,1000\nopenai,gpt-c,1,,,1,,\nazure,gpt-b,10,,,20,,\n"


def test_show_tells_the_books_age(stackctl_cli) -> None:
    """The book alone: source, date, age and how many prices there are, for people and programs."""
    book = stackctl_cli("prices", "show", "--json").json()["book"]
    assert "genai-prices" in book["source"]
    assert book["rows"] > 3000
    assert book["age_days"] >= 0
    assert (book["file"], book["own_rows"]) == (None, 0)
    assert f"({book['age_days']} days old)" in stackctl_cli("prices", "show").stdout


def test_show_finds_a_model_everywhere(stackctl_cli) -> None:
    """A model's price at every provider, with tiers, window and other names."""
    report = stackctl_cli("prices", "show", "claude-sonnet-4-5", "--json").json()
    rows = {row["provider"]: row for row in report["prices"]}
    assert {"anthropic", "google"} <= rows.keys()
    anthropic = rows["anthropic"]
    assert (Decimal(anthropic["input"]), Decimal(anthropic["cache_read"])) == (3, Decimal("0.3"))
    assert anthropic["tiers"][0][0] == 200_000
    assert anthropic["context_window"] > 0
    assert anthropic["aliases"]
    text = stackctl_cli("prices", "show", "claude-sonnet-4-5").stdout
    assert "beyond 200,000 input tokens" in text
    assert "is also called" in text


def test_show_of_an_unknown_model_names_the_nearest(stackctl_cli) -> None:
    """A mistyped name is exit 1 with the names that it may have been."""
    done = stackctl_cli("prices", "show", "gpt-4o-mino")
    assert done.code == 1
    assert "no provider has a price for 'gpt-4o-mino'" in done.stderr
    assert "gpt-4o-mini" in done.stderr


def test_own_rows_and_an_old_book_are_said(stackctl_cli, tmp_path: Path) -> None:
    """A book of the user's own and own rows in stackctl.toml are what `show` shows; an old book is warned of."""
    (tmp_path / "book.csv").write_text(OLD_BOOK)
    (tmp_path / "stackctl.toml").write_text(
        'prices.book = "book.csv"\n[[prices.rows]]\nprovider = "openai"\nmodel = "gpt-b"\ninput = 0.1\n'
    )
    report = stackctl_cli("prices", "show", "gpt-b", "--json").json()
    assert [(row["own"], row["input"], row["output"]) for row in report["prices"]] == [(True, "0.1", None)]
    assert (report["book"]["own_rows"], report["book"]["old"]) == (1, True)
    assert report["book"]["file"] == str(tmp_path / "book.csv")
    assert "warning: old prices" in stackctl_cli("prices", "show").stdout
    assert stackctl_cli("prices", "show", "gpt-4o").code == 1


@pytest.mark.parametrize("command", [("prices", "show"), ("up", "--runtime", "embedded", "--ports", "auto")])
def test_a_broken_book_is_refused(stackctl_cli, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A book that cannot be read is exit 2 with file and line, and no stack is started with it."""
    (tmp_path / "book.csv").write_text(HEAD + "openai,gpt-a,cheap,,,,,\n")
    done = stackctl_cli(*command, env={"STACKCTL_PRICES_BOOK": str(tmp_path / "book.csv")})
    assert done.code == 2
    assert "book.csv is no price book: line 4" in done.stderr
    assert done.stderr.count("next:") == 1


def test_diff_tells_rows_and_cells(stackctl_cli, tmp_path: Path) -> None:
    """Added, removed and changed rows, each on a line of its own; the same book differs in nothing."""
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text(OLD_BOOK)
    new.write_text(NEW_BOOK)
    report = stackctl_cli("prices", "diff", old, new, "--json").json()
    assert report["added"] == [["azure", "gpt-b"], ["openai", "gpt-c"]]
    assert report["removed"] == [["openai", "gpt-b"]]
    assert report["changed"] == [
        {"provider": "openai", "model": "gpt-a", "cells": {"input": ["1", "0.3"], "cache_read": ["0.5", "0.1"]}}
    ]
    text = stackctl_cli("prices", "diff", old, new).stdout
    assert "~ openai gpt-a: input 1 -> 0.3, cache_read 0.5 -> 0.1" in text
    assert "0 added, 0 removed, 0 changed" in stackctl_cli("prices", "diff", old, old).stdout


def test_update_writes_a_book_that_can_be_used(stackctl_cli, tmp_path: Path) -> None:
    """`update FILE` writes what the installed genai-prices knows, today's, and it serves as prices.book."""
    report = stackctl_cli("prices", "update", "fresh.csv", "--json").json()
    assert "genai-prices" in report["book"]["source"]
    assert report["book"]["age_days"] == 0
    assert report["refused"]
    shown = stackctl_cli("prices", "show", "gpt-4o", "--json", env={"STACKCTL_PRICES_BOOK": "fresh.csv"}).json()
    assert shown["book"]["rows"] == report["book"]["rows"]
    assert "openai" in {row["provider"] for row in shown["prices"]}
    assert [path.name for path in tmp_path.iterdir() if "fresh" in path.name] == ["fresh.csv"]


def test_update_without_the_package_tells_how_to_get_it(stackctl_cli, tmp_path: Path) -> None:
    """genai-prices is not part of the product: without it, exit 3 with the pip line of this very Python."""
    hidden = tmp_path / "hidden" / "genai_prices"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'genai_prices'\")")
    done = stackctl_cli("prices", "update", "fresh.csv", env={"PYTHONPATH": str(hidden.parent)})
    assert done.code == 3
    assert "-m pip install 'genai-prices" in done.stderr
    assert not (tmp_path / "fresh.csv").exists()


@pytest.mark.parametrize("name", ["stackctl.toml", ".", ""])
def test_update_replaces_nothing_but_a_book(stackctl_cli, tmp_path: Path, name: str) -> None:
    """Another file of the user's, a directory or no name at all is misuse with a next step, and all stays as it was."""
    (tmp_path / "stackctl.toml").write_text('runtime = "embedded"\n')
    before = sorted(tmp_path.iterdir())
    done = stackctl_cli("prices", "update", name)
    assert (done.code, done.stderr.count("next:")) == (2, 1)
    assert "Traceback" not in done.stderr
    assert (tmp_path / "stackctl.toml").read_text() == 'runtime = "embedded"\n'
    assert sorted(tmp_path.iterdir()) == before


def test_update_replaces_a_book_and_leaves_others_work(stackctl_cli, tmp_path: Path) -> None:
    """An older book, even one that is refused, is renewed, whatever another process has half written beside it."""
    (tmp_path / "fresh.csv").write_text(HEAD + "openai,gpt-a,cheap,,,,,\n")
    (tmp_path / "fresh.csv.unfinished").mkdir()  # a name that two processes would share
    done = stackctl_cli("prices", "update", "fresh.csv")
    assert done.code == 0, done.stderr
    names = sorted(path.name for path in tmp_path.iterdir() if "fresh" in path.name)
    assert names == ["fresh.csv", "fresh.csv.unfinished"]


@pytest.mark.parametrize("columns", ["", "abc", "0"])
def test_a_width_that_is_none_is_not_kept_to(stackctl_cli, columns: str) -> None:
    """Whatever COLUMNS says, the output is there."""
    done = stackctl_cli("prices", "show", env={"COLUMNS": columns})
    assert (done.code, done.stderr) == (0, "")
    assert "price book: genai-prices" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("cost", "--window", "999999999w"),
        ("prices", "check", "--window", "999999999w"),
        ("traces", "list", "--since", "999999999w"),
        ("dashboards", "verify", "--window", "999999999w"),
        ("cost", "--prometheus", "foo"),
        ("cost", "--prometheus", ""),
        ("traces", "list", "--tempo", "http://"),
    ],
)
def test_what_no_server_can_be_asked_is_misuse(stackctl_cli, command: tuple[str, ...]) -> None:
    """A window of millions of years and an address that is none are told before anybody is asked: exit 2."""
    done = stackctl_cli(*command)
    assert (done.code, done.stderr.count("next:")) == (2, 1), done.stderr
    assert "query" not in done.stderr


# --- a running stack --------------------------------------------------------------------------------------------------
SETTINGS = """
prices.book = "book.csv"
prices.hosts = {"llm.house:8000" = "house"}
[[prices.rows]]
provider = "house"
model = "house-model"
input = 0.1
output = "0.3"
window = 4096
"""


def call(number: int, host: str, port: int | None, model: str, tokens: tuple[int, int] | None = (1000, 100)) -> Given:
    """A call that ended a minute ago."""
    attributes: dict[str, Any] = {
        semconv.OPERATION: "chat",
        semconv.PROVIDER: "openai",
        semconv.SERVER_ADDRESS: host,
        semconv.REQUEST_MODEL: model,
        semconv.RESPONSE_MODEL: model,
    }
    if port:
        attributes[semconv.SERVER_PORT] = port
    if tokens:
        attributes |= {semconv.INPUT_TOKENS: tokens[0], semconv.OUTPUT_TOKENS: tokens[1]}
    start = (time.time_ns() - 60 * 10**9 - BASE_NS) / 1e6
    return Given(number, number, 0, f"chat {model}", start, 500, 3, attributes=attributes, scope="a.library")


CALLS = (
    *(call(number, "llm.house", 8000, "house-model") for number in (1, 2)),
    call(3, "api.openai.com", 443, "gpt-a-2026-05-05"),
    *(call(number, "api.openai.com", 443, "gpt-bb") for number in (4, 5, 6)),
    call(7, "10.0.0.7", 9000, "gpt-a"),
    call(9, "MyServer.Corp", 8000, "gpt-a"),
    call(10, "http://vLLM:8000/v1", 8000, "own-model"),
    call(11, "::1", 8000, "own-model"),
    call(8, "api.openai.com", 443, "gpt-a", None),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with settings and books in which a stack runs that took the calls."""
    home = tmp_path_factory.mktemp("prices")
    (home / "book.csv").write_text(OLD_BOOK)
    (home / "stackctl.toml").write_text(SETTINGS)
    started = stackctl(home, "up", "--runtime", "embedded", "--ports", "auto", "--json")
    assert started.code == 0, started.stderr
    try:
        send(started.json()["endpoints"], CALLS)
        wait_for_calls(home, len(CALLS))
        yield home
    finally:
        stackctl(home, "down", "--delete-data")


def stackctl(home: Path, *arguments: str) -> Finished:
    return run_stackctl(*arguments, "--data-dir", home / "data", home=home)


def send(endpoints: dict[str, str], calls: Sequence[Given]) -> None:
    headers = {"content-type": "application/x-protobuf"}
    with httpx2.Client(trust_env=False) as client:
        sent = client.post(endpoints["otlp_http"] + "/v1/traces", content=otlp_request(calls), headers=headers)
    assert sent.status_code == 200


def wait_for_calls(home: Path, count: int) -> dict[str, Any]:
    """Wait until so many calls are counted and return the totals."""
    deadline = time.monotonic() + 20
    while (total := stackctl(home, "cost", "--json").json()["total"])["calls"] < count:
        assert time.monotonic() < deadline, "the calls do not show"
        time.sleep(0.3)
    return total


def test_own_book_rows_and_hosts_price_what_comes_in(home: Path) -> None:
    """The engine prices by the book and the rows of stackctl.toml, and leaves unpriced what neither knows."""
    total = stackctl(home, "cost", "--json").json()["total"]
    assert (total["priced"], total["unpriced"], total["no_usage"]) == (3, 7, 1)
    # Two of the house's calls, and one of gpt-a by the old book.
    assert Decimal(total["cost_usd"]) == 2 * Decimal("0.00013") + Decimal("0.0012")


def test_check_finds_what_is_unpriced_and_how_to_price_it(home: Path) -> None:
    """Unpriced models by calls, why, the nearest known name; pasting the lines and `up` prices them from now on."""
    done = stackctl(home, "prices", "check", "--json")
    assert done.code == 1
    report = done.json()
    found = [(row["model"], row["host"], row["calls"], row["provider"]) for row in report["models"]]
    assert found == [
        ("gpt-bb", "api.openai.com:443", 3, "openai"),
        ("gpt-a", "10.0.0.7:9000", 1, None),
        ("gpt-a", "myserver.corp:8000", 1, None),
        ("own-model", "[::1]:8000", 1, None),
        ("own-model", "vllm:8000", 1, None),
    ]
    assert report["models"][0]["nearest"][0] == "openai gpt-b"
    assert report["models"][1]["reason"] == "nothing says whose prices 10.0.0.7:9000 bills"
    assert report["book"]["old"]
    assert report["toml"][1:5] == [
        '"10.0.0.7:9000" = "openai"',
        '"myserver.corp:8000" = "openai"',
        '"[::1]:8000" = "::1:8000"',
        '"vllm:8000" = "vllm"',
    ]
    text = stackctl(home, "prices", "check").stdout
    assert "3 of 11 calls are priced, 7 unpriced, 1 without usage" in text
    assert "[[prices.rows]]" in text


def test_the_suggested_lines_price_the_calls(home: Path, tmp_path: Path) -> None:
    """With the lines in a stackctl.toml nothing is left unpriced, and the calls of before are told as priced now."""
    report = stackctl(home, "prices", "check", "--json").json()
    filled = [line.replace('"?"', '"1"') for line in report["toml"]]
    (tmp_path / "stackctl.toml").write_text("\n".join(filled))
    env = {"STACKCTL_PRICES_BOOK": str(home / "book.csv")}
    done = run_stackctl("prices", "check", "--json", "--data-dir", home / "data", home=tmp_path, env=env)
    assert done.code == 0, done.stderr
    assert all(row["priced_now"] for row in done.json()["models"])
    assert done.json()["toml"] == []


def test_check_without_spans_tells_what_metrics_know(home: Path) -> None:
    """Against a Prometheus alone, models stand by their label, and those that it must not know are `other`."""
    prometheus = stackctl(home, "status", "--json").json()["endpoints"]["prometheus"]
    done = stackctl(home, "prices", "check", "--json", "--prometheus", prometheus)
    assert done.code == 1
    assert {row["model"]: row["calls"] for row in done.json()["models"]} == {"other": 5, "gpt-a": 2}
    assert done.json()["source"] == "metrics"


def test_cost_with_other_prices(home: Path) -> None:
    """`cost --prices` sets the stored calls' cost beside what they cost with another book, exactly, with coverage."""
    (home / "new.csv").write_text(NEW_BOOK + "openai,gpt-bb,2,,,4,,\n")
    done = stackctl(home, "cost", "--prices", "new.csv", "--by", "model", "--window", "1h", "--json")
    assert done.code == 0, done.stderr
    report = done.json()
    groups = {group["labels"]["model"]: group for group in report["groups"]}
    assert Decimal(groups["gpt-a-2026-05-05"]["old"]["cost_usd"]) == Decimal("0.0012")
    assert Decimal(groups["gpt-a-2026-05-05"]["new"]["cost_usd"]) == Decimal("0.0005")
    assert (groups["gpt-bb"]["old"]["cost_usd"], groups["gpt-bb"]["old"]["unpriced"]) == (None, 3)
    assert Decimal(groups["gpt-bb"]["new"]["cost_usd"]) == 3 * Decimal("0.0024")
    assert groups["house-model"]["old"]["cost_usd"] == groups["house-model"]["new"]["cost_usd"]
    assert (report["new"]["priced"], report["new"]["unpriced"], report["new"]["no_usage"]) == (6, 4, 1)
    assert Decimal(report["new"]["cost_usd"]) == Decimal("0.0005") + Decimal("0.0072") + Decimal("0.00026")
    text = stackctl(home, "cost", "--prices", "new.csv", "--by", "user").stdout
    assert "not in the new sum: calls without a price: 4 unpriced, 1 no usage" in text
    assert "$0.00146" in text
    assert "$0.00796" in text


def test_changed_prices_reach_a_running_stack(home: Path) -> None:
    """Changing the book's file and running `up` again prices what comes in from then on by the new numbers."""
    before = stackctl(home, "cost", "--json").json()["total"]
    (home / "book.csv").write_text(OLD_BOOK.replace("gpt-a,1,", "gpt-a,4,"))
    applied = stackctl(home, "up")
    assert applied.code == 0, applied.stderr
    assert "price_book" in applied.stdout + applied.stderr
    send(stackctl(home, "status", "--json").json()["endpoints"], [call(20, "api.openai.com", 443, "gpt-a")])
    after = wait_for_calls(home, before["calls"] + 1)
    assert Decimal(after["cost_usd"]) - Decimal(before["cost_usd"]) == Decimal("0.0042")


def test_a_service_tier_and_an_ipv6_host_get_rows_of_their_own(home: Path) -> None:
    """A flex call is not priced at the list price: `check` says why, and its line prices the next one."""
    before = stackctl(home, "cost", "--json").json()["total"]
    endpoints = stackctl(home, "status", "--json").json()["endpoints"]
    of_flex = {semconv.REQUEST_TIER: "flex", semconv.RESPONSE_TIER: "flex"}
    flex = call(21, "api.openai.com", 443, "gpt-a")
    send(endpoints, [replace(flex, attributes=flex.attributes | of_flex), call(22, "[::1]", 1234, "own-model")])
    after = wait_for_calls(home, before["calls"] + 2)
    assert (after["unpriced"] - before["unpriced"], after["cost_usd"]) == (2, before["cost_usd"])
    report = stackctl(home, "prices", "check", "--json").json()
    rows = {(row["model"], row["tier"], row["host"]): row for row in report["models"]}
    row = rows["gpt-a", "flex", "api.openai.com:443"]
    assert (row["reason"], row["nearest"]) == ("openai has no price for its service tier flex", ["openai gpt-a"])
    assert "gpt-a:flex" in stackctl(home, "prices", "check").stdout
    at = report["toml"].index('model = "gpt-a:flex"')
    own = [*report["toml"][at - 2 : at + 1], "input = 0.5", "output = 1"]
    v6 = ["[[prices.rows]]", 'provider = "mine"', 'model = "own-model"', "input = 1", "output = 0"]
    hosts = SETTINGS.replace('"house"}', '"house", "::1" = "mine"}')
    (home / "stackctl.toml").write_text("\n".join([hosts, *own, *v6]))
    now = {
        (r["model"], r["host"]) for r in stackctl(home, "prices", "check", "--json").json()["models"] if r["priced_now"]
    }
    assert now == {("gpt-a", "api.openai.com:443"), ("own-model", "[::1]:1234"), ("own-model", "[::1]:8000")}
    assert stackctl(home, "up").code == 0
    send(endpoints, [replace(flex, span=23, attributes=flex.attributes | of_flex), call(24, "::1", 99, "own-model")])
    last = wait_for_calls(home, after["calls"] + 2)
    assert Decimal(last["cost_usd"]) - Decimal(after["cost_usd"]) == Decimal("0.0006") + Decimal("0.001")
