"""The console for everyone: all of it by keyboard, all of it readable, in both themes."""

from typing import Any

import pytest

from tests.console.conftest import Seeded, Watched

RANGE = "from=now-15m&to=now"
PAGES = (
    f"/d/home?{RANGE}",
    f"/d/cost?{RANGE}",
    f"/d/quality?{RANGE}",
    "/traces",
    "/traces?q=%7B%20span.a%20%3D%20%7D",
    "/traces/{trace}",
    "/traces/compare/{trace}/{trace}",
    "/stack",
)

# Texts whose contrast is below WCAG 2.2's AA (4.5, or 3 for large ones), with what lies behind them blended.
UNREADABLE = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((part, at) => part * a + below[at] * (1 - a));
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const light = (colour) => {
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { parentElement: element, data } = texts.currentNode;
    if (!data.trim() || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const style = getComputedStyle(element);
    const below = behind(element);
    const ink = style.fill && element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const [one, other] = [light(over(rgba(ink), below)), light(below)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio >= (large ? 3 : 4.5)) continue;
    found.push(`${data.trim().slice(0, 40)}: ${ratio.toFixed(2)} of ${ink} (${element.className})`);
  }
  return [...new Set(found)];
}"""


def opened(watched: Watched, address: str, seeded: Seeded) -> Any:
    """Open one of the pages and wait until it stands."""
    page = watched.open(address.format(trace=seeded.demo["trace_ids"][0]), drawn=False)
    watched.until("() => document.querySelector('.panel, .card, .query-error mark')")
    if "/d/" in address:
        watched.drawn()
    watched.until("() => !document.querySelector('.pulse')")
    return page


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_text_can_be_read(watched: Watched, seeded: Seeded, theme: str) -> None:
    """Every text of every page keeps the contrast of WCAG's AA against what it stands on."""
    watched.allowed = ("400",)
    watched.page.emulate_media(color_scheme=theme)
    for address in PAGES:
        page = opened(watched, address, seeded)
        assert page.evaluate(UNREADABLE) == [], address


# Everything that reacts to a click, and whether the keyboard gets there; spans of a trace are one stop, with arrows.
NUMBERED = """() => {
  const wanted = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")].filter(
    (one) => one.checkVisibility() && one.tabIndex >= 0 && !one.disabled && !one.closest("main[tabindex='-1'] ~ *"));
  wanted.forEach((one, at) => (one.dataset.stop = at));
  return wanted.length;
}"""
UNREACHABLE = """() => [...document.querySelectorAll("body *")].filter((one) => {
  if (!one.checkVisibility() || getComputedStyle(one).cursor !== "pointer") return false;
  const control = "a[href], button, input, select, textarea, summary, label, [role=treeitem]";
  return !one.closest(control) && !one.querySelector(control) && !one.closest("tr")?.querySelector(control);
}).map((one) => one.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("address", [PAGES[0], "/traces", "/traces/{trace}", "/stack"])
def test_every_control_by_keyboard(watched: Watched, seeded: Seeded, address: str) -> None:
    """Tab comes to every control, in turn, and nothing that takes a click is out of its reach."""
    watched.page.add_init_script("setInterval = () => 0")  # nothing is drawn anew while its controls are counted
    page = opened(watched, address, seeded)
    watched.until("() => document.querySelector('.side :is(.dot, .badge)')")  # the last of the page to come
    page.wait_for_load_state("networkidle")
    assert page.evaluate(UNREACHABLE) == []
    count = page.evaluate(NUMBERED)
    assert count > 10
    page.evaluate("() => document.activeElement?.blur()")
    seen = set()
    for _ in range(count + 3):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("() => document.activeElement?.dataset.stop ?? null"))
    assert seen - {None} == {str(at) for at in range(count)}


def test_time_and_choices_by_keyboard(watched: Watched) -> None:
    """A range and a model are chosen without a mouse; Escape closes and gives the focus back."""
    page = watched.open(f"/d/home?{RANGE}")
    page.get_by_title("Time range").focus()
    page.keyboard.press("Enter")
    watched.until("() => document.activeElement.closest('.pop')")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    watched.until("() => /from=now-/.test(location.search) && !document.querySelector('.pop:popover-open')")
    page.get_by_role("button", name="Model All").focus()
    page.keyboard.press("Enter")
    watched.until("() => document.activeElement.matches('.pop input')")
    page.keyboard.press("Escape")
    watched.until("() => document.activeElement.title === 'Model'")
    watched.drawn()
