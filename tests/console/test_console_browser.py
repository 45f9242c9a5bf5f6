"""The console in Chromium over a demo's traffic: every board, every way of looking, nothing a page should not do."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from stackctl.genai.metrics import BY_NAME
from stackctl.semconv import LLM_TIME_TO_FIRST_TOKEN
from tests.conftest import run_stackctl
from tests.console.javascript import run

BOARDS = ("home", "cost", "latency", "quality", "rag", "throughput", "traces")
RANGE = "from=now-15m&to=now"
SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0}


def written(value, unit):
    """A value as the console writes it."""
    return run('result = (await use("format/units.js")).format(given[0], given[1]);', [value, unit])


def text(watched, title):
    """The number that a stat panel shows."""
    return watched.panel(title).locator(".stat-value").inner_text()


@pytest.mark.parametrize("uid", BOARDS)
def test_every_board_is_drawn_with_data(watched, uid):
    """Every panel of every board draws something from the demo's traffic: no error, no unsupported kind, no gap."""
    page = watched.open(f"/d/{uid}?{RANGE}")
    failed = page.eval_on_selector_all("[data-state=failed]", "all => all.map((one) => one.innerText)")
    assert failed == []
    empty = page.eval_on_selector_all(".panel:has(.state)", "all => all.map((one) => one.dataset.title)")
    assert empty == []
    drawn = "one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some(Boolean)"
    assert page.eval_on_selector_all("canvas", f"all => all.every((one) => {drawn})")


def test_the_numbers_are_the_demos(watched, seeded):
    """The totals on Home equal what the demo counted at its client; the p95 lies within one bucket of its own."""
    demo = seeded.demo
    watched.open(f"/d/home?{RANGE}")
    assert text(watched, "Calls") == written(demo["calls"], "short")
    assert text(watched, "Cost") == written(float(demo["cost_usd"]), "currencyUSD")
    share = demo["evaluations"]["hallucinated"] / demo["evaluations"]["total"]
    assert text(watched, "Hallucinated answers") == written(share, "percentunit")
    unknown = (demo["unpriced_calls"] + demo["no_usage_calls"]) / demo["calls"]
    assert text(watched, "Calls not in the cost") == written(unknown, "percentunit")
    number, unit = text(watched, "First token, p95").split()
    bounds = BY_NAME[LLM_TIME_TO_FIRST_TOKEN][0].bounds
    bucket = [
        sum(bound < seconds for bound in bounds)
        for seconds in (float(number) * SECONDS[unit], demo["ttft_seconds"]["p95"])
    ]
    assert abs(bucket[0] - bucket[1]) <= 1


def test_a_choice_changes_every_number_and_the_address(watched):
    """Choosing one model asks again with it, is in the address, and the back button undoes it."""
    page = watched.open(f"/d/home?{RANGE}")
    before = text(watched, "Calls")
    page.get_by_role("button", name="Model All").click()
    page.get_by_label("gpt-4o-mini", exact=True).check()
    page.keyboard.press("Escape")
    watched.until(f"() => document.querySelector('[data-title=Calls] .stat-value').innerText !== '{before}'")
    assert parse_qs(urlsplit(page.url).query)["var-model"] == ["gpt-4o-mini"]
    page.go_back()
    watched.until(f"() => document.querySelector('[data-title=Calls] .stat-value').innerText === '{before}'")
    assert "var-model" not in page.url


def test_the_menu_keeps_range_and_choice(watched):
    """From board to board the range and the choices stay."""
    page = watched.open(f"/d/home?{RANGE}&var-service=stackctl-demo")
    page.locator("nav").get_by_role("link", name="Cost").click()
    watched.until("() => document.title.startsWith('Cost') && document.querySelector('.panel')")
    watched.drawn()
    query = parse_qs(urlsplit(page.url).query)
    assert (query["from"], query["var-service"]) == (["now-15m"], ["stackctl-demo"])


def test_dragging_zooms_and_time_can_be_typed(watched):
    """Dragging over a chart makes its part the range of the whole board; a typed range does too; nonsense is said."""
    page = watched.open(f"/d/latency?{RANGE}")
    box = watched.plot("First token")
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 40, steps=6)
    page.mouse.up()
    query = parse_qs(urlsplit(page.url).query)
    width = int(query["to"][0]) - int(query["from"][0])
    assert 0.3 * 900_000 < width < 0.5 * 900_000
    page.locator(".time-range").click()
    page.get_by_label("From", exact=True).fill("some day")
    page.get_by_role("button", name="Apply").click()
    assert "Write now-6h" in page.locator(".field-error").inner_text()
    page.get_by_label("From", exact=True).fill("now-20m")
    page.get_by_label("To", exact=True).fill("now")
    page.get_by_role("button", name="Apply").click()
    assert parse_qs(urlsplit(page.url).query)["from"] == ["now-20m"]
    watched.drawn()


def test_a_dot_opens_its_trace(watched):
    """An exemplar on the chart of first tokens is a call: a click opens the trace it stands for."""
    page = watched.open(f"/d/latency?{RANGE}")
    box = watched.plot("First token")
    over = "() => document.querySelector('[data-title=\"First token\"] .u-over').classList.contains('on-dot')"
    for step in range(2, 400):
        page.mouse.move(box["x"] + box["width"] - step * 1.5, box["y"] + box["height"] * (0.45 + 0.35 * (step % 4) / 4))
        if page.evaluate(over):
            break
    else:
        pytest.fail("no dot was found")
    page.mouse.down()
    page.mouse.up()
    watched.until("() => document.querySelector('.waterfall [data-first-token]')")
    assert re.search(r"/traces/[0-9a-f]{32}$", urlsplit(page.url).path)


def test_rows_fold_by_keyboard(watched):
    """A row folds and unfolds without a mouse, says so, and stays folded at the next visit."""
    page = watched.open(f"/d/home?{RANGE}")
    row = page.get_by_role("button", name="Over time")
    row.focus()
    page.keyboard.press("Enter")
    assert row.get_attribute("aria-expanded") == "false"
    assert not watched.panel("Calls a second by application").is_visible()
    page.reload()
    watched.until("() => document.querySelector('[data-title=Calls][data-state]')")
    row = page.get_by_role("button", name="Over time")
    assert row.get_attribute("aria-expanded") == "false"
    row.press("Enter")
    watched.drawn()


def test_a_table_sorts_and_links(watched):
    """A click on a head sorts, numbers downwards first; a name leads to its own latency with the range kept."""
    page = watched.open(f"/d/cost?{RANGE}")
    table = watched.panel("Models")
    table.get_by_role("button", name="Calls").click()
    calls = [int(cell) for cell in table.locator("tbody td:nth-child(3)").all_inner_texts()]
    assert calls == sorted(calls, reverse=True)
    assert len(calls) > 2
    watched.open(f"/d/home?{RANGE}")
    watched.panel("Applications").get_by_role("link", name="stackctl-demo").click()
    watched.until("() => document.title.startsWith('Latency')")
    query = parse_qs(urlsplit(page.url).query)
    assert (query["var-service"], query["from"]) == (["stackctl-demo"], ["now-15m"])
    watched.drawn()


def test_new_data_keeps_what_was_chosen_in_a_panel(watched):
    """After a refresh a table is sorted as it was, a series left out stays out, and the keyboard is where it was."""
    page = watched.open(f"/d/cost?{RANGE}")
    table = watched.panel("Models")
    table.get_by_role("button", name="Calls").click()
    chart = watched.panel("Cost an hour by model")
    chart.locator(".series").first.click(modifiers=["Control"])
    for _ in range(2):
        answers = page.locator("[data-title=Models] tbody").element_handle()
        page.get_by_role("button", name="Refresh now").click()
        table.get_by_role("button", name="Calls").focus()
        watched.until("() => !document.querySelector('.panel.asking')")
        answers.wait_for_element_state("hidden")
        watched.drawn()
    assert table.locator("[aria-sort=descending]").inner_text().startswith("Calls")
    assert chart.locator(".series").first.get_attribute("aria-pressed") == "false"
    assert page.evaluate("() => document.activeElement.textContent").startswith("Calls")


def test_a_number_leads_to_the_traces_behind_it(watched, seeded):
    """The failed calls on Home lead to just the traces that hold them."""
    page = watched.open(f"/d/home?{RANGE}")
    watched.panel("Failed calls").locator("a.stat-value").click()
    watched.until("() => document.querySelector('.traces tbody tr')")
    assert "status = error" in page.get_by_label("TraceQL").input_value()
    rows = page.locator(".traces tbody tr")
    assert rows.count() == page.locator(".traces .tag.bad").count() > 0


def test_an_unknown_trace_and_board_are_said(watched):
    """What does not exist is said in words."""
    watched.allowed = ("404",)
    page = watched.open("/traces/" + "0" * 31 + "1", drawn=False)
    watched.until("() => document.querySelector('.page .state:not([role=status])')")
    assert "There is no trace" in page.locator(".page .state").inner_text()
    watched.open("/d/nonsense", drawn=False)
    watched.until("() => document.querySelector('.state.failed')")
    assert "there is no board nonsense" in page.locator(".state.failed").inner_text()


def test_the_stack_shows_its_health(watched):
    """Components, endpoints, versions and counters on one page."""
    page = watched.open("/stack")
    shown = page.locator(".stack-page").inner_text()
    for word in ("ingest", "query", "console", "healthy", "otlp_grpc", "spans total"):
        assert word in shown


def test_findings_stand_on_the_page_of_the_stack(watched):
    """A finding is said with its board; an address that leads elsewhere becomes no link; the menu counts what fires."""
    alert = {"state": "firing", "severity": "critical", "title": "5% <b>fail</b>", "text": "Look", "since": None}
    found = [alert | {"board": "/d/cost"}, alert | {"board": "javascript:alert(1)"}]

    def told(route):
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"findings": found})

    watched.page.route("**/api/stack", told)
    page = watched.open("/stack", drawn=False)
    watched.until("() => document.querySelectorAll('.finding').length === 2 && document.querySelector('.badge')")
    assert page.locator(".badge").inner_text() == "2"
    assert "5% <b>fail</b>" in page.locator(".finding").first.inner_text()
    assert [one.get_attribute("href") for one in page.locator(".finding a").all()] == ["/d/cost"]
    page.unroute_all(behavior="wait")


def test_both_themes(watched):
    """The theme changes at a click, stays at the next visit, and text keeps its contrast in both."""
    page = watched.open(f"/d/home?{RANGE}")
    seen = set()
    for _ in range(2):
        page.get_by_role("button", name=re.compile("theme$")).click()
        page.reload()
        watched.until("() => document.querySelector('[data-title=Calls][data-state]')")
        colours = page.evaluate(COLOURS)
        *inks, surface = colours
        seen.add(tuple(surface))
        assert all(contrast(ink, surface) >= 4.5 for ink in inks)
    assert len(seen) == 2


COLOURS = """() => ['--text', '--muted', '--accent', '--surface'].map((name) => {
  const probe = document.createElement('i');
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color.match(/\\d+/g).map(Number);
})"""


def contrast(one, other):
    """WCAG 2.2's contrast ratio of two sRGB colours."""

    def luminance(colour):
        parts = [part / 255 for part in colour]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_a_panel_says_why_it_is_empty(watched):
    """An error of a query stands in its own panel, a kind that is not built is named, and the others go on."""
    watched.allowed = ("400", "422")
    panels = [
        {
            "type": "stat",
            "title": "Broken",
            "gridPos": {"x": 0, "y": 0, "w": 8, "h": 5},
            "targets": [{"expr": "sum(", "refId": "A", "instant": True}],
        },
        {"type": "geomap", "title": "Map", "gridPos": {"x": 8, "y": 0, "w": 8, "h": 5}, "targets": []},
        {
            "type": "text",
            "title": "Note",
            "gridPos": {"x": 16, "y": 0, "w": 8, "h": 5},
            "options": {
                "mode": "markdown",
                "content": "**bold** <script>x</script> [bad](javascript:alert(1)) [good](/d/home)",
            },
        },
        {
            "type": "histogram",
            "title": "Spread",
            "gridPos": {"x": 0, "y": 5, "w": 8, "h": 6},
            "targets": [{"expr": "llm_requests_total", "refId": "A", "range": True}],
        },
        {
            "type": "table",
            "title": "Odd source",
            "gridPos": {"x": 8, "y": 5, "w": 8, "h": 6},
            "targets": [{"datasource": {"type": "loki"}, "refId": "A"}],
        },
    ]
    board = {"uid": "own", "title": "Own <b>board</b>", "panels": panels, "time": {"from": "now-15m", "to": "now"}}
    watched.page.route("**/api/boards/own", lambda route: route.fulfill(json=board))
    watched.open("/d/own")
    watched.until("() => document.querySelector('.prose strong')")
    assert "parse error" in watched.panel("Broken").inner_text()
    assert 'Panels of kind "geomap" are not supported.' in watched.panel("Map").inner_text()
    assert 'Data sources of type "loki" are not supported.' in watched.panel("Odd source").inner_text()
    assert watched.panel("Spread").locator(".column").count() > 0
    note = watched.panel("Note")
    assert note.locator("strong").inner_text() == "bold"
    assert note.locator("a[href]").evaluate_all("all => all.map((one) => one.getAttribute('href'))") == ["/d/home"]
    assert watched.page.locator("h1").inner_text() == "Own <b>board</b>"


def test_only_what_is_seen_asks_and_what_is_left_stops(watched):
    """Panels below the window wait; leaving a board cancels what it still asked."""
    asked = []
    watched.page.set_viewport_size({"width": 1400, "height": 300})
    watched.page.on(
        "request", lambda request: asked.append(request.post_data or "") if "/query" in request.url else None
    )
    page = watched.open(f"/d/latency?{RANGE}", drawn=False)
    watched.until("() => document.querySelector('[data-title=\"First token, p50\"][data-state]')")
    assert not any("gen_ai_operation_name%2C+le" in one for one in asked)
    page.evaluate("() => scrollTo(0, document.body.scrollHeight)")
    watched.until("() => document.querySelector('[data-title=\"Last token by operation, p95\"][data-state]')")
    assert any("gen_ai_operation_name%2C+le" in one for one in asked)


def test_what_the_network_cut_off_is_asked_again(watched):
    """A connection that breaks costs a query nothing but a moment; one that never comes back is said."""
    watched.allowed = ("ERR_CONNECTION_RESET",)
    broken = []

    def breaks(route):
        broken.append(route.request.post_data)
        if broken.count(route.request.post_data) == 1:
            route.abort("connectionreset")
        else:
            route.continue_()

    watched.page.route("**/api/v1/query", breaks)
    page = watched.open(f"/d/home?{RANGE}&refresh=")
    assert page.locator("[data-state=failed]").count() == 0
    assert len(broken) > 1
    page.unroute_all(behavior="wait")
    page.route("**/api/v1/query", lambda route: route.abort("connectionreset"))
    watched.open(f"/d/home?{RANGE}&refresh=")
    assert "The console does not answer" in watched.panel("Calls").inner_text()


@pytest.fixture
def empty_stack(tmp_path_factory):
    """The console's address of a stack that has seen nothing."""
    home = tmp_path_factory.mktemp("empty")
    where = ("--data-dir", home / "data")
    started = run_stackctl("up", "--runtime", "embedded", "--ports", "auto", *where, "--json", home=home)
    assert started.code == 0, started.stderr
    try:
        yield started.json()["endpoints"]["console"]
    finally:
        run_stackctl("down", "--delete-data", *where, home=home)


def test_an_empty_stack_says_what_to_do(empty_stack, watch_page):
    """A stack that has seen nothing shows the next steps instead of empty axes."""
    watched = watch_page(empty_stack)
    for address in ("/", "/d/cost", "/traces"):
        watched.open(address, drawn=False)
        watched.until("() => document.querySelector('.empty-stack')")
        shown = watched.page.locator(".empty-stack").inner_text()
        assert "stackctl demo" in shown
        assert "stackctl run -- python app.py" in shown
