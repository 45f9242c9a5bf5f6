"""Where the shipped folders are: `compose/`, `dashboards/` and `provisioning/`, in a wheel and in a checkout alike."""

from pathlib import Path

from stackctl.errors import EnvironmentLacks

_PACKAGE = Path(__file__).resolve().parent


def shipped(folder: str) -> Path:
    """Return the directory of one shipped folder.

    Args:
        folder: `compose`, `dashboards` or `provisioning`.

    Raises:
        EnvironmentLacks: the installation does not carry it.
    """
    for root in (_PACKAGE / "_shipped", _PACKAGE.parent):
        if (root / folder).is_dir():
            return root / folder
    raise EnvironmentLacks(
        f"this installation of stackctl does not carry the folder {folder!r}",
        next_step="reinstall it: pip install --force-reinstall stackctl",
    )
