"""The console's pages of traces in Chromium over a demo's traffic: the list, its filters, a waterfall, two of them."""

from urllib.parse import parse_qs, urlsplit


def test_filters_become_a_query(watched):
    """Filters narrow the list, stand in the address, and their TraceQL can be seen and changed."""
    page = watched.open("/traces")
    watched.until("() => document.querySelectorAll('.traces tbody tr').length >= 40")
    page.get_by_label("Model", exact=True).select_option("gpt-4.1")
    rows = "[...document.querySelectorAll('.traces tbody tr')]"
    watched.until(f"() => {rows}.every((one) => one.innerText.includes('gpt-4.1-2025'))")
    assert parse_qs(urlsplit(page.url).query)["model"] == ["gpt-4.1"]
    assert 'span.gen_ai.request.model = "gpt-4.1"' in page.get_by_label("TraceQL").input_value()
    page.get_by_label("First token after, in ms").fill("300")
    page.keyboard.press("Enter")
    watched.until("() => document.querySelector('textarea').value.includes('time_to_first_chunk > 0.3')")
    page.get_by_label("TraceQL").fill("{ status = error }")
    page.keyboard.press("Enter")
    watched.until("() => location.search.includes('q=')")
    watched.until("() => document.querySelector('.traces .tag.bad')")


def test_an_error_stands_where_it_is(watched):
    """A query that does not parse is marked at the place of its error, in the server's words."""
    watched.allowed = ("400",)
    page = watched.open("/traces")
    watched.until("() => document.querySelector('.traces tbody tr')")
    box = page.get_by_label("TraceQL")
    box.fill("{ span.a = }")
    box.press("Enter")
    watched.until("() => document.querySelector('.query-error mark')")
    assert page.locator(".query-error mark").inner_text() == "}"
    assert page.locator(".query-error mark").get_attribute("data-at") == "11"
    assert "unexpected" in page.locator(".query-error p").inner_text()
    assert box.input_value() == "{ span.a = }"


def test_a_trace_from_question_to_answer(watched, seeded):
    """The waterfall nests, marks the first token within its call, and the panel has the call's facts and words."""
    watched.open("/traces?first=200")
    page = watched.page
    watched.until("() => document.querySelector('.traces tbody tr')")
    page.locator(".traces tbody a").first.click()
    watched.until("() => document.querySelector('.waterfall [data-first-token]')")
    marks = page.eval_on_selector_all(
        ".first-token",
        "all => all.map((one) => {"
        " const m = one.getBoundingClientRect(), b = one.parentElement.getBoundingClientRect();"
        " return (m.left + m.width / 2 - b.left) / b.width; })",
    )
    assert marks
    assert all(0 < mark < 1 for mark in marks)
    levels = page.eval_on_selector_all("[role=treeitem]", "all => all.map((one) => Number(one.ariaLevel))")
    assert levels[0] == 1
    assert max(levels) >= 3
    panel = page.locator(".side-panel")
    for fact in (
        "Model",
        "First token",
        "Input tokens",
        "Output tokens",
        "Cost",
        "How it was priced",
        "Messages",
        "Attributes",
    ):
        assert panel.get_by_text(fact, exact=True).first.is_visible(), fact
    assert "Question:" in panel.locator(".message.user").last.text_content()
    assert panel.locator(".message.assistant").last.inner_text()
    panel.get_by_text("How it was priced").click()
    assert "Price of openai" in panel.inner_text()


def test_the_waterfall_by_keyboard(watched, seeded):
    """Arrows move, fold and unfold; what is looked at stands in the address and opens again from there."""
    page = watched.open(f"/traces/{seeded.demo['trace_ids'][0]}", drawn=False)
    watched.until("() => document.querySelector('.span-row.selected')")
    first = page.locator("[role=treeitem]").first
    first.focus()
    page.keyboard.press("ArrowDown")
    watched.until("() => document.querySelectorAll('.span-row')[1].classList.contains('selected')")
    span = page.locator(".span-row.selected").get_attribute("data-span")
    assert f"span={span}" in page.url
    count = page.locator("[role=treeitem]").count()
    first.focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("[role=treeitem]").count() == 1
    page.keyboard.press("ArrowRight")
    assert page.locator("[role=treeitem]").count() == count
    watched.open(f"/traces/{seeded.demo['trace_ids'][0]}?span={span}", drawn=False)
    watched.until(f"() => document.querySelector('.span-row.selected')?.dataset.span === '{span}'")


def test_two_traces_side_by_side(watched, seeded):
    """One is set aside, the other chosen from the list; both stand on one scale with what differs."""
    one, other = seeded.demo["trace_ids"][:2]
    page = watched.open(f"/traces/{one}", drawn=False)
    page.get_by_role("button", name="Compare with").click()
    watched.until("() => document.querySelector('.hint') && document.querySelector('.traces tbody tr')")
    page.locator(f'.traces a[href="/traces/compare/{one}/{other}"]').click()
    watched.until("() => document.querySelectorAll('.compare .waterfall').length === 2")
    rows = dict(
        row.split("\t", 1) for row in page.locator(".differences tbody").inner_text().splitlines() if "\t" in row
    )
    assert "%" in rows["Duration"]
    axes = page.locator(".waterfall-axis").all_inner_texts()
    assert axes[0] == axes[1]


def test_traces_appear_as_they_are_found(watched):
    """The newest part of a range stands on the page while the older ones are still searched."""
    held, gate = [], {"lets": 1}  # every part but the first waits until it is let go

    def slow(route):
        if gate["lets"] > 0:
            gate["lets"] -= 1
            route.continue_()
        else:
            held.append(route)

    watched.page.route("**/api/tempo/api/search?*", slow)
    page = watched.open("/traces?from=now-24h&to=now", drawn=False)
    watched.until("() => document.querySelector('.traces tbody tr')")
    count = page.locator(".traces tbody tr").count()
    assert "looking for more" in page.locator(".results").inner_text()
    gate["lets"] = 10
    while held:
        held.pop().continue_()
    watched.until("() => !document.querySelector('.results').innerText.includes('looking for more')")
    assert page.locator(".traces tbody tr").count() >= count
