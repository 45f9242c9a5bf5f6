"""The Chromium of this machine, for what is measured or drawn in a browser."""

import os
import shutil
from typing import Final

from stackctl.errors import EnvironmentLacks

VARIABLE: Final = "STACKCTL_CHROMIUM"
NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
# No sandbox, which containers do not allow; nothing that calls home.
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str:
    """Return the path of the browser.

    Raises:
        EnvironmentLacks: none is installed.
    """
    found = os.environ.get(VARIABLE) or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise EnvironmentLacks(
            "no Chromium is installed", next_step=f"install it (Debian: apt install chromium), or name it in {VARIABLE}"
        )
    return found
