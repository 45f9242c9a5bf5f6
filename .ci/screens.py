"""Make the README's pictures of the console: a stack of its own, minutes of the demo's traffic, Chromium.

python .ci/screens.py [MINUTES]    # writes .pictures/console-*.png; six minutes of traffic if nothing is said
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from stackctl.runtime.browser import FLAGS, chromium

PICTURES = Path(__file__).resolve().parent.parent / ".pictures"
WIDTH = 1360
# Name, address, theme, height in pixels; `{minutes}` and `{trace}` are put in.
SCREENS = (
    ("home", "/d/home?from=now-{minutes}m&to=now&refresh=", "dark", 800),
    ("cost", "/d/cost?from=now-{minutes}m&to=now&refresh=&var-budget=2000", "light", 900),
    ("quality", "/d/quality?from=now-{minutes}m&to=now&refresh=", "dark", 860),
    ("trace", "/traces/{trace}", "light", 860),
)
WARM_UP_SECONDS = 45  # of traffic before the range that is shown, so that it is full of lines


def stackctl(data_dir: str, *arguments: str) -> Any:
    """Run a command and return its JSON."""
    command = [sys.executable, "-m", "stackctl", "--data-dir", data_dir, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr}")
    return json.loads(done.stdout) if "--json" in arguments else None


def traffic_for(data_dir: str, minutes: int) -> subprocess.Popen[bytes]:
    """Begin so many minutes of the demo's traffic."""
    demo = ("demo", "--duration", f"{minutes}m", "--rate", "1.5", "--seed", "3")
    command = [sys.executable, "-m", "stackctl", "--data-dir", data_dir, *demo]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def settled(page: Page) -> None:
    """Wait until everything that is seen is drawn."""
    ready = "() => document.querySelector('.panel, .detail') && !document.querySelector('.pulse')"
    drawn = "() => [...document.querySelectorAll('.panel')].every((one) => one.dataset.state)"
    for _ in range(400):
        if page.evaluate(ready) and page.evaluate(drawn):
            break
        time.sleep(0.05)
    page.wait_for_timeout(400)


def telling(url: str, page: Page) -> str:
    """Return a trace with a first token, a price and no error."""
    page.goto(f"{url}/traces?first=250&cost=0.0005&status=ok")
    page.wait_for_selector(".traces tbody a")
    return str(page.locator(".traces tbody a").first.get_attribute("href")).rsplit("/", 1)[1]


def main() -> None:
    """Start, send traffic, draw, stop."""
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    with tempfile.TemporaryDirectory() as data_dir, sync_playwright() as playwright:
        up = ("up", "--runtime", "embedded", "--ports", "auto", "--capture-content", "--json")
        url = stackctl(data_dir, *up)["endpoints"]["console"]
        try:
            # Still running while the pictures are made: a chart whose traffic has just ended falls to nothing.
            traffic = traffic_for(data_dir, minutes + 5)
            time.sleep(WARM_UP_SECONDS + 60 * minutes)
            browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
            for name, address, theme, height in SCREENS:
                page = browser.new_page(
                    viewport={"width": WIDTH, "height": height}, color_scheme=theme, device_scale_factor=1.5
                )
                trace = telling(url, page) if "{trace}" in address else ""
                page.goto(url + address.format(minutes=minutes, trace=trace))
                settled(page)
                page.screenshot(path=PICTURES / f"console-{name}.png")
                page.close()
            browser.close()
            traffic.terminate()
            traffic.wait()
        finally:
            stackctl(data_dir, "down", "--delete-data")


if __name__ == "__main__":
    main()
